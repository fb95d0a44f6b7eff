// SPDX-License-Identifier: GPL-2.0

//! What the network stack calls (`struct net_device_ops`).

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use kernel::ffi::c_int;

use super::bindings;
use super::Shared;
use super::MAX_FRAME;

/// A table of callbacks that never changes.
#[repr(transparent)]
pub(super) struct OpsTable(pub(super) bindings::net_device_ops);

// SAFETY: The table is read only, and the pointers in it that are not functions are NULL.
unsafe impl Sync for OpsTable {}

/// The callbacks of the interface.
pub(super) static NETDEV_OPS: OpsTable = OpsTable({
    // SAFETY: The struct consists of optional function pointers, for which zeroes mean `None`.
    let none: bindings::net_device_ops = unsafe { MaybeUninit::zeroed().assume_init() };
    bindings::net_device_ops {
        ndo_open: Some(open),
        ndo_stop: Some(stop),
        ndo_start_xmit: Some(start_xmit),
        ndo_set_mac_address: Some(bindings::eth_mac_addr),
        ndo_validate_addr: Some(bindings::eth_validate_addr),
        ..none
    }
});

/// # Safety
///
/// `dev` must be a device that [`super::Netdev::register`] set up, and not yet unregistered.
unsafe fn shared<'a>(dev: *mut bindings::net_device) -> &'a Shared {
    // SAFETY: The private area holds a pointer to the shared part, which outlives the registration.
    unsafe { &**bindings::verbs_shim_netdev_priv(dev).cast::<*const Shared>() }
}

/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn open(dev: *mut bindings::net_device) -> c_int {
    // SAFETY: The stack passes our device.
    unsafe { bindings::verbs_shim_netdev_start_queue(dev) };
    0
}

/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
    // SAFETY: The stack passes our device, which is registered.
    unsafe {
        bindings::verbs_shim_netdev_stop_queue(dev);
        shared(dev).tx.purge();
    }
    0
}

/// Runs with bottom halves disabled.
///
/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn start_xmit(
    skb: *mut bindings::sk_buff,
    dev: *mut bindings::net_device,
) -> bindings::netdev_tx_t {
    // SAFETY: The stack passes our device, which is registered, and a socket buffer that is ours from
    // here on.
    unsafe {
        let shared = shared(dev);
        match (NonNull::new(skb), NonNull::new(dev)) {
            (Some(buffer), Some(device)) if (*skb).len as usize <= MAX_FRAME => {
                shared.tx.push(buffer, device);
                shared.wake.raise_next();
            }
            _ => {
                bindings::verbs_shim_netdev_count_tx_dropped(dev);
                bindings::verbs_shim_skb_drop(skb);
            }
        }
    }
    bindings::netdev_tx_NETDEV_TX_OK
}
