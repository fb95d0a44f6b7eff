// SPDX-License-Identifier: GPL-2.0

//! Frames of the network stack that wait for a rail to one host.

use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::types::Opaque;

use super::bindings;

/// Frames that may wait before the stack is told to stop.
const STOP_AT: u32 = 128;

/// Frames left when the stack is told to go on.
const WAKE_AT: u32 = STOP_AT / 2;

/// Frames that may wait at all. Those to everyone come by another queue of the stack, which is not
/// stopped.
const LIMIT: u32 = STOP_AT * 2;

/// Number of a transmit queue of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueIndex(pub(super) u16);

impl QueueIndex {
    /// The queue of frames to everyone.
    pub(super) const EVERYONE: Self = Self(0);
}

/// A bounded first-in-first-out queue of socket buffers.
///
/// # Locking
///
/// The C queue's own lock, which disables interrupts, so that all methods work in any context.
///
/// Whether the stack is stopped and how long the queue is are two things; both sides change one and
/// then, after a full barrier, look at the other, so that the stack never stays stopped over an empty
/// queue.
///
/// # Invariants
///
/// Each socket buffer in the queue belongs to it.
#[pin_data(PinnedDrop)]
pub(super) struct TxQueue {
    #[pin]
    queue: Opaque<bindings::sk_buff_head>,
}

// SAFETY: Socket buffers belong to no thread.
unsafe impl Send for TxQueue {}

// SAFETY: The C queue has its own lock, which all methods take to change it.
unsafe impl Sync for TxQueue {}

impl TxQueue {
    /// Creates an empty queue.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- Opaque::ffi_init(|slot: *mut bindings::sk_buff_head| {
                // SAFETY: `slot` points to memory for a queue, which is pinned.
                unsafe { bindings::verbs_shim_skb_queue_init(slot) };
            }),
        })
    }

    /// Appends a frame, and stops the stack's queue `index` if that fills this one. If it is full beyond
    /// that, the frame is dropped and counted.
    ///
    /// # Safety
    ///
    /// `skb` must belong to the caller, who gives it up, and `device` must be a device whose frames come
    /// through this queue.
    pub(super) unsafe fn push(
        &self,
        skb: NonNull<bindings::sk_buff>,
        device: NonNull<bindings::net_device>,
        index: QueueIndex,
    ) {
        if self.len() >= LIMIT {
            // SAFETY: The caller promises that the device is alive, and gives the buffer up.
            unsafe {
                bindings::verbs_shim_netdev_count_tx_dropped(device.as_ptr());
                bindings::verbs_shim_skb_drop(skb.as_ptr());
            }
            return;
        }
        // SAFETY: The queue was initialised; the caller gives the buffer up.
        unsafe { bindings::skb_queue_tail(self.queue.get(), skb.as_ptr()) };
        if self.len() >= STOP_AT {
            // SAFETY: The caller promises that the device is alive; it has such a queue.
            unsafe { bindings::verbs_shim_netdev_stop_queue(device.as_ptr(), index.0) };
            full_barrier();
            if self.len() <= WAKE_AT {
                // SAFETY: As above.
                unsafe { bindings::verbs_shim_netdev_wake_queue(device.as_ptr(), index.0) };
            }
        }
    }

    /// Takes the oldest frame, which then belongs to the caller, and lets a stopped queue `index` of the
    /// stack go on.
    pub(super) fn pop(
        &self,
        device: NonNull<bindings::net_device>,
        index: QueueIndex,
    ) -> Option<NonNull<bindings::sk_buff>> {
        if self.len() == 0 {
            return None;
        }
        // SAFETY: The queue was initialised.
        let skb = NonNull::new(unsafe { bindings::skb_dequeue(self.queue.get()) });
        full_barrier();
        // SAFETY: The owner of this queue keeps the device alive.
        unsafe {
            if self.len() <= WAKE_AT
                && bindings::verbs_shim_netdev_queue_stopped(device.as_ptr(), index.0)
            {
                bindings::verbs_shim_netdev_wake_queue(device.as_ptr(), index.0);
            }
        }
        skb
    }

    /// Drops all frames.
    pub(super) fn purge(&self) {
        // SAFETY: The queue was initialised, and its buffers belong to it.
        unsafe { bindings::verbs_shim_skb_queue_purge(self.queue.get()) };
    }

    fn len(&self) -> u32 {
        // SAFETY: The queue was initialised; others may change the length meanwhile, as with the C
        // function `skb_queue_len_lockless()`.
        unsafe { core::ptr::read_volatile(&raw const (*self.queue.get()).qlen) }
    }
}

#[pinned_drop]
impl PinnedDrop for TxQueue {
    fn drop(self: Pin<&mut Self>) {
        self.purge();
    }
}

/// Orders everything before against everything after it (`smp_mb()`).
fn full_barrier() {
    // SAFETY: A barrier has no demands.
    unsafe { bindings::verbs_shim_smp_mb() };
}
