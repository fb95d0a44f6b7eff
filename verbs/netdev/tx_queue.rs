// SPDX-License-Identifier: GPL-2.0

//! Frames of the network stack that wait for the rails to one host.

use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::types::Opaque;

use crate::transport::ids::RailId;
use crate::transport::rail_set::RailSet;
use crate::verbs::bindings;

/// Memory of frames that may wait before the stack is told to stop, in bytes: a dozen of the longest frames, so that a rail
/// has what to do until the stack has made more, and hundreds of short ones.
const STOP_AT: u32 = 1 << 20;

/// Memory of the frames left when the stack is told to go on.
const WAKE_AT: u32 = STOP_AT / 2;

/// Memory of frames that may wait at all. Those to everyone come by another queue of the stack, which is not
/// stopped.
const LIMIT: u32 = STOP_AT * 2;

/// Number of a transmit queue of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueIndex(pub(super) u16);

impl QueueIndex {
    /// The queue of frames to everyone.
    pub(super) const EVERYONE: Self = Self(0);
}

/// Bounded first-in-first-out queues of socket buffers, a lane for each rail, which are full together.
///
/// # Locking
///
/// The C queues' own locks, which disable interrupts, so that all methods work in any context.
///
/// Whether the stack is stopped and how much waits are two things; both sides change one and
/// then, after a full barrier, look at the other, so that the stack never stays stopped over empty
/// lanes.
///
/// # Invariants
///
/// Each socket buffer in a lane belongs to it.
#[pin_data(PinnedDrop)]
pub(super) struct TxQueue {
    #[pin]
    lanes: Opaque<[bindings::sk_buff_head; RailId::COUNT]>,
    /// Memory of the frames in all lanes together, in bytes.
    waiting: Atomic<u32>,
}

// SAFETY: Socket buffers belong to no thread.
unsafe impl Send for TxQueue {}

// SAFETY: The C queues have their own locks, which all methods take to change them.
unsafe impl Sync for TxQueue {}

impl TxQueue {
    /// Creates empty lanes.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lanes <- Opaque::ffi_init(|lanes: *mut [bindings::sk_buff_head; RailId::COUNT]| {
                let first = lanes.cast::<bindings::sk_buff_head>();
                for index in 0..RailId::COUNT {
                    // SAFETY: `lanes` points to memory for so many queues, which is pinned.
                    unsafe { bindings::verbs_shim_skb_queue_init(first.wrapping_add(index)) };
                }
            }),
            waiting: Atomic::new(0),
        })
    }

    /// Appends a frame to the lane of `rail`, and stops the stack's queue `index` if that makes too much. If there is far
    /// too much, the frame is dropped and counted.
    ///
    /// # Safety
    ///
    /// `skb` must belong to the caller, who gives it up, and `device` must be a device whose frames come
    /// through this queue.
    pub(super) unsafe fn push(
        &self,
        rail: RailId,
        skb: NonNull<bindings::sk_buff>,
        device: NonNull<bindings::net_device>,
        index: QueueIndex,
    ) {
        if self.waiting.load(Relaxed) >= LIMIT {
            // SAFETY: The caller promises that the device is alive, and gives the buffer up.
            unsafe { drop_frame(skb, device) };
            return;
        }
        // Counted before it can be taken.
        // SAFETY: The buffer is the caller's.
        let memory = unsafe { memory(skb) };
        let waiting = self.waiting.fetch_add(memory, Relaxed) + memory;
        // SAFETY: The lane was initialised; the caller gives the buffer up.
        unsafe { bindings::skb_queue_tail(self.lane(rail), skb.as_ptr()) };
        if waiting >= STOP_AT {
            // SAFETY: The caller promises that the device is alive; it has such a queue.
            unsafe { bindings::verbs_shim_netdev_stop_queue(device.as_ptr(), index.0) };
            full_barrier();
            if self.waiting.load(Relaxed) <= WAKE_AT {
                // SAFETY: As above.
                unsafe { bindings::verbs_shim_netdev_wake_queue(device.as_ptr(), index.0) };
            }
        }
    }

    /// Takes the oldest frame for `rail`, which then belongs to the caller, and lets a stopped queue `index` of the
    /// stack go on.
    pub(super) fn pop(
        &self,
        rail: RailId,
        device: NonNull<bindings::net_device>,
        index: QueueIndex,
    ) -> Option<NonNull<bindings::sk_buff>> {
        if self.waiting.load(Relaxed) == 0 {
            return None;
        }
        let skb = self.dequeue(rail)?;
        full_barrier();
        // SAFETY: The owner of this queue keeps the device alive.
        unsafe {
            if self.waiting.load(Relaxed) <= WAKE_AT
                && bindings::verbs_shim_netdev_queue_stopped(device.as_ptr(), index.0)
            {
                bindings::verbs_shim_netdev_wake_queue(device.as_ptr(), index.0);
            }
        }
        Some(skb)
    }

    /// Moves what waits for `from`, whose lane nothing comes into any more, to the end of the lane of `to`.
    pub(super) fn hand_over(&self, from: RailId, to: RailId) {
        // SAFETY: The lane was initialised.
        while let Some(skb) = NonNull::new(unsafe { bindings::skb_dequeue(self.lane(from)) }) {
            // SAFETY: The lane was initialised; the buffer is ours, and given up.
            unsafe { bindings::skb_queue_tail(self.lane(to), skb.as_ptr()) };
        }
    }

    /// Drops all frames.
    pub(super) fn purge(&self) {
        for rail in RailSet::ALL.iter() {
            while let Some(skb) = self.dequeue(rail) {
                // SAFETY: The buffer is ours.
                unsafe { bindings::verbs_shim_skb_drop(skb.as_ptr()) };
            }
        }
    }

    fn dequeue(&self, rail: RailId) -> Option<NonNull<bindings::sk_buff>> {
        let lane = self.lane(rail);
        // SAFETY: The lane was initialised; others may change the length meanwhile, as with the C function
        // `skb_queue_len_lockless()`.
        if unsafe { core::ptr::read_volatile(&raw const (*lane).qlen) } == 0 {
            return None;
        }
        // SAFETY: The lane was initialised.
        let skb = NonNull::new(unsafe { bindings::skb_dequeue(lane) })?;
        // SAFETY: The buffer is ours, and nobody has changed it in the lane.
        self.waiting.fetch_sub(unsafe { memory(skb) }, Relaxed);
        Some(skb)
    }

    fn lane(&self, rail: RailId) -> *mut bindings::sk_buff_head {
        let first = self.lanes.get().cast::<bindings::sk_buff_head>();
        first.wrapping_add(rail.index())
    }
}

#[pinned_drop]
impl PinnedDrop for TxQueue {
    fn drop(self: Pin<&mut Self>) {
        self.purge();
    }
}

/// What a frame takes up, in bytes.
///
/// # Safety
///
/// Nobody may change the socket buffer meanwhile.
unsafe fn memory(skb: NonNull<bindings::sk_buff>) -> u32 {
    // SAFETY: The caller promises it.
    unsafe { (*skb.as_ptr()).truesize }
}

/// Orders everything before against everything after it (`smp_mb()`).
fn full_barrier() {
    // SAFETY: A barrier has no demands.
    unsafe { bindings::verbs_shim_smp_mb() };
}

/// Drops a frame that cannot be sent, and counts it.
///
/// # Safety
///
/// `skb` must belong to the caller, who gives it up, and `device` must exist.
pub(super) unsafe fn drop_frame(
    skb: NonNull<bindings::sk_buff>,
    device: NonNull<bindings::net_device>,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        bindings::verbs_shim_netdev_count_tx_dropped(device.as_ptr());
        bindings::verbs_shim_skb_drop(skb.as_ptr());
    }
}
