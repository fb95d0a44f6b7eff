// SPDX-License-Identifier: GPL-2.0

//! What `ethtool` asks (`struct ethtool_ops`).

use core::mem::MaybeUninit;

use kernel::ffi::c_int;
use kernel::sync::atomic::Relaxed;

use super::ops::shared;
use crate::verbs::bindings;

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
        get_link_ksettings: Some(get_link_ksettings),
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

/// # Safety
///
/// `dev` must be a device that [`super::Netdev::register`] set up, and `settings` point to a zeroed struct
/// that nobody else uses.
unsafe extern "C" fn get_link_ksettings(
    dev: *mut bindings::net_device,
    settings: *mut bindings::ethtool_link_ksettings,
) -> c_int {
    // SAFETY: The caller promises it.
    let (shared, base) = unsafe { (shared(dev), &mut (*settings).base) };
    base.speed = match shared.rate.load(Relaxed) {
        0 => bindings::SPEED_UNKNOWN as u32,
        rate => rate,
    };
    base.duplex = bindings::DUPLEX_FULL as u8;
    base.port = bindings::PORT_OTHER as u8;
    base.autoneg = bindings::AUTONEG_DISABLE as u8;
    0
}
