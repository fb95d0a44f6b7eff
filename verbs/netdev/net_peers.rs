// SPDX-License-Identifier: GPL-2.0

//! The hosts that can be reached, each with a transmit queue of the interface.

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::sync::rcu;
use kernel::sync::Arc;

use super::mac_address::MacAddress;
use super::net_peer::NetPeer;
use super::tx_queue::QueueIndex;
use crate::transport::ids::RailId;

/// Hosts that can be reached at a time: at least one rail leads to each.
const CAPACITY: usize = RailId::COUNT;

/// Transmit queues of the interface: one for each host, and one for frames to all.
pub(super) const QUEUES: u32 = CAPACITY as u32 + 1;

/// A set of hosts that may be searched in the interface's transmit function.
///
/// # Locking
///
/// Searching works in any context; entries are read under RCU. Adding and removing sleep.
///
/// # Invariants
///
/// Each slot is NULL or came from `Arc::into_raw`, and then the table owns that reference.
pub(super) struct NetPeers {
    slots: [Atomic<*mut NetPeer>; CAPACITY],
}

impl NetPeers {
    /// A set without hosts.
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { Atomic::new(core::ptr::null_mut()) }; CAPACITY],
        }
    }

    /// Adds a host, which gets a queue by that. Fails with `ENOSPC` when there are too many.
    pub(super) fn add(&self, net_peer: &Arc<NetPeer>) -> Result {
        let raw = Arc::into_raw(net_peer.clone()).cast_mut();
        for (index, slot) in self.slots.iter().enumerate() {
            net_peer.set_queue(queue_of(index));
            if slot.cmpxchg(core::ptr::null_mut(), raw, Full).is_ok() {
                return Ok(());
            }
        }
        // SAFETY: `raw` came from `into_raw` above, and no slot took it.
        drop(unsafe { Arc::from_raw(raw) });
        Err(ENOSPC)
    }

    /// Takes a host out, if it is in. Afterwards no search finds it any more, nor works on it.
    pub(super) fn remove(&self, net_peer: &Arc<NetPeer>) {
        let raw = Arc::as_ptr(net_peer).cast_mut();
        for slot in &self.slots {
            if slot.cmpxchg(raw, core::ptr::null_mut(), Full).is_ok() {
                // SAFETY: The caller is a thread that may sleep.
                unsafe { bindings::synchronize_rcu() };
                // SAFETY: The slot owned a reference, and no reader can see it since the grace period.
                drop(unsafe { Arc::from_raw(raw) });
                return;
            }
        }
    }

    /// Calls `f` with the host of that address, if it is in.
    pub(super) fn with<R>(&self, host: MacAddress, f: impl FnOnce(&NetPeer) -> R) -> Option<R> {
        let _rcu = rcu::read_lock();
        for slot in &self.slots {
            // The address dependency orders this load against what `add` published.
            // SAFETY: By the type's invariants a pointer that is not NULL is valid; `remove` waits for
            // this RCU section before it gives the reference up.
            let net_peer = unsafe { slot.load(Relaxed).as_ref() };
            if let Some(net_peer) = net_peer.filter(|net_peer| net_peer.host() == host) {
                return Some(f(net_peer));
            }
        }
        None
    }

    /// Calls `f` with each host.
    pub(super) fn for_each(&self, mut f: impl FnMut(&NetPeer)) {
        let _rcu = rcu::read_lock();
        for slot in &self.slots {
            // SAFETY: As in `with`.
            if let Some(net_peer) = unsafe { slot.load(Relaxed).as_ref() } {
                f(net_peer);
            }
        }
    }
}

impl Drop for NetPeers {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let raw = *slot.get_mut();
            if !raw.is_null() {
                // SAFETY: By the type's invariants the slot owns a reference.
                drop(unsafe { Arc::from_raw(raw) });
            }
        }
    }
}

/// The queue of the host in that slot; the first one is for frames to all.
fn queue_of(slot: usize) -> QueueIndex {
    QueueIndex(slot as u16 + 1)
}
