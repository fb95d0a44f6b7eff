// SPDX-License-Identifier: GPL-2.0

//! What the network stack calls (`struct net_device_ops`).

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use kernel::ffi::c_int;

use super::mac_address::MacAddress;
use super::mac_address::ETH_ADDRESS;
use super::net_peer::NetPeer;
use super::shared::Shared;
use super::socket_buffer::state_of;
use super::tx_queue::QueueIndex;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::frame::PacketState;
use crate::transport::packet::Refused;
use crate::verbs::bindings;

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
        ndo_select_queue: Some(select_queue),
        ndo_start_xmit: Some(start_xmit),
        ndo_features_check: Some(features_check),
        // No `ndo_set_mac_address`: peers know the interface by the address that the rails' hello names.
        ndo_validate_addr: Some(bindings::eth_validate_addr),
        ..none
    }
});

/// # Safety
///
/// `dev` must be a device that [`super::Netdev::register`] set up, and not yet unregistered.
pub(super) unsafe fn shared<'a>(dev: *mut bindings::net_device) -> &'a Shared {
    // SAFETY: The private area holds a pointer to the shared part, which outlives the registration.
    unsafe { &**bindings::verbs_shim_netdev_priv(dev).cast::<*const Shared>() }
}

/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn open(dev: *mut bindings::net_device) -> c_int {
    // SAFETY: The stack passes our device.
    unsafe { bindings::verbs_shim_netdev_start_queues(dev) };
    0
}

/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
    // SAFETY: The stack passes our device, which is registered.
    unsafe {
        bindings::verbs_shim_netdev_stop_queues(dev);
        shared(dev).net_peers.for_each(|net_peer| net_peer.purge());
    }
    0
}

/// The address a frame is for; nothing if it has no room for one.
///
/// # Safety
///
/// `skb` must be a socket buffer that nobody changes meanwhile.
unsafe fn destination(skb: *const bindings::sk_buff) -> Option<MacAddress> {
    // SAFETY: The caller promises it. The linear part of a socket buffer begins at `data` and has `len`
    // bytes without those in fragments.
    unsafe {
        let linear = (*skb).len.checked_sub((*skb).data_len)? as usize;
        let address = (*skb).data.cast::<[u8; ETH_ADDRESS]>();
        (linear >= ETH_ADDRESS).then(|| MacAddress(address.read()))
    }
}

/// Runs with bottom halves disabled.
///
/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn select_queue(
    dev: *mut bindings::net_device,
    skb: *mut bindings::sk_buff,
    _subordinate: *mut bindings::net_device,
) -> u16 {
    // SAFETY: The stack passes our device, which is registered, and a frame that it is about to queue.
    let (shared, host) = unsafe { (shared(dev), destination(skb)) };
    let queue = host.and_then(|host| shared.net_peers.with(host, NetPeer::queue));
    queue.unwrap_or(QueueIndex::EVERYONE).0
}

/// What may be left undone on a frame: nothing unless all hosts it goes to take that, and understand it. Runs with bottom halves
/// disabled.
///
/// # Safety
///
/// Only to be called by the network stack, for a device that [`super::Netdev::register`] set up.
unsafe extern "C" fn features_check(
    skb: *mut bindings::sk_buff,
    dev: *mut bindings::net_device,
    features: bindings::netdev_features_t,
) -> bindings::netdev_features_t {
    // SAFETY: The stack passes our device, which is registered, and a frame that it is about to send.
    let (shared, host, state) = unsafe { (shared(dev), destination(skb), state_of(skb)) };
    let are_able = || {
        let to_one = host.and_then(|host| shared.net_peers.with(host, NetPeer::is_able));
        to_one.unwrap_or_else(|| {
            let mut are_able = true;
            shared
                .net_peers
                .for_each(|net_peer| are_able &= net_peer.is_able());
            are_able
        })
    };
    let may_go = match state {
        Ok(PacketState::Finished) => true,
        Ok(PacketState::ChecksumDue | PacketState::SegmentsDue(_)) => are_able(),
        Err(Refused) => false,
    };
    if may_go {
        features
    } else {
        // SAFETY: The function only computes.
        unsafe { bindings::verbs_shim_netdev_without_offloads(features) }
    }
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
        match (NonNull::new(skb), NonNull::new(dev)) {
            (Some(buffer), Some(device)) if (*skb).len as usize <= MAX_PAYLOAD => {
                send(shared(dev), buffer, device);
            }
            _ => {
                bindings::verbs_shim_netdev_count_tx_dropped(dev);
                bindings::verbs_shim_skb_drop(skb);
            }
        }
    }
    bindings::netdev_tx_NETDEV_TX_OK
}

/// Queues a frame for the host it is for. What is for no host we know is for all of them: broadcasts,
/// multicasts, and addresses that somebody has given to an interface.
///
/// # Safety
///
/// `skb` must belong to the caller, who gives it up, and `device` must be the interface with this shared
/// part.
unsafe fn send(
    shared: &Shared,
    skb: NonNull<bindings::sk_buff>,
    device: NonNull<bindings::net_device>,
) {
    let give = |net_peer: &NetPeer, skb| {
        // SAFETY: The caller promises that the device is alive; whoever calls gives the buffer up.
        unsafe { net_peer.send(skb, device) };
    };
    // SAFETY: The buffer is ours.
    let host = unsafe { destination(skb.as_ptr()) };
    let sent = host.and_then(|host| shared.net_peers.with(host, |to| give(to, skb)));
    if sent.is_some() {
        return;
    }
    shared.net_peers.for_each(|net_peer| {
        // SAFETY: The buffer is ours; the copy of it becomes ours.
        match NonNull::new(unsafe { bindings::verbs_shim_skb_clone(skb.as_ptr()) }) {
            Some(copy) => give(net_peer, copy),
            // SAFETY: The device is alive.
            None => unsafe { bindings::verbs_shim_netdev_count_tx_dropped(device.as_ptr()) },
        }
    });
    // SAFETY: The buffer is still ours.
    unsafe { bindings::verbs_shim_skb_consume(skb.as_ptr()) };
}
