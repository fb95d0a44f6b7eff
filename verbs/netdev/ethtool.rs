// SPDX-License-Identifier: GPL-2.0

//! What `ethtool` asks (`struct ethtool_ops`).

use core::mem::MaybeUninit;

use super::bindings;

/// Name shown by `ethtool -i`.
const DRIVER_NAME: &[u8] = b"usb4_roce";

/// The callbacks of the interface.
pub(super) static ETHTOOL_OPS: bindings::ethtool_ops = {
    // SAFETY: The struct consists of optional function pointers and numbers, for which zeroes mean
    // `None` and "not supported".
    let none: bindings::ethtool_ops = unsafe { MaybeUninit::zeroed().assume_init() };
    bindings::ethtool_ops {
        get_drvinfo: Some(get_drvinfo),
        get_link: Some(bindings::ethtool_op_get_link),
        ..none
    }
};

/// # Safety
///
/// `info` must point to a zeroed struct that nobody else uses.
unsafe extern "C" fn get_drvinfo(
    _dev: *mut bindings::net_device,
    info: *mut bindings::ethtool_drvinfo,
) {
    // SAFETY: The caller promises it.
    let driver = unsafe { &mut (*info).driver };
    for (to, from) in driver.iter_mut().zip(DRIVER_NAME) {
        *to = *from;
    }
}
