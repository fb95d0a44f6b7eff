// SPDX-License-Identifier: GPL-2.0

//! Who waits for a stream: an entry in each of its wait queues that tells what arrives from what was sent.
//!
//! The stream has one wait queue (or more, for all we know), and wakes it once for each frame that has arrived and once for each one that was sent.
//! A thread that sleeps inside the driver's read is woken for both, and so by each frame that the same host sends: it
//! then interrupts the worker that is telling so, finds nothing, and sleeps again, frame by frame.

use core::ffi::c_int;
use core::ffi::c_uint;
use core::ffi::c_void;
use core::ptr::null_mut;

use kernel::pr_warn_once;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::AtomicFlag;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::time::Jiffies;
use kernel::types::Opaque;

use super::bindings;
use super::open_file::OpenFile;
use crate::base::event::Event;
use crate::base::event::Wake;

/// When so many time-outs in a row have found data that nobody had announced, people are told: it slows the rail down.
const UNANNOUNCED_LIMIT: u32 = 3;

/// What a stream is woken with for a frame that was sent. Whatever else is told along with it is news.
const SENT: u32 = bindings::stream_shim_epollout | bindings::stream_shim_epollwrnorm;

/// What a read has something to tell of: data, or that the stream has come to an end.
const READABLE: u32 =
    bindings::stream_shim_epollin | bindings::stream_shim_epollerr | bindings::stream_shim_epollhup;

/// Most wait queues of one stream that are listened to: one for each direction, and some to spare.
const MAX_QUEUES: usize = 4;

/// Waits for what happens to an open stream.
///
/// # Invariants
///
/// Each of `queues` is NULL, or the entry of the same index is in that wait queue, calls [`on_wake`], and its `private` points to
/// the waiter.
#[pin_data(PinnedDrop)]
pub(super) struct RxWaiter {
    /// After so long without an arrival the stream is asked.
    poll_fallback: Jiffies,
    #[pin]
    arrival: Event,
    /// Something other than a frame has come, or may have come before anyone listened.
    changed: AtomicFlag,
    #[pin]
    entries: Opaque<[bindings::wait_queue_entry; MAX_QUEUES]>,
    queues: [Atomic<*mut bindings::wait_queue_head>; MAX_QUEUES],
    /// Time-outs in a row that have found data.
    unannounced: Atomic<u32>,
}

// SAFETY: The entries may be taken out of their queues by any thread.
unsafe impl Send for RxWaiter {}

// SAFETY: What is shared are atomics and an event; the entries are the queues', under their locks.
unsafe impl Sync for RxWaiter {}

/// A poll table that puts `waiter` into the queues it is given.
///
/// `repr(C)`: [`enlist`] is called with a pointer to the first field.
#[repr(C)]
struct Enlisting<'a> {
    table: bindings::poll_table_struct,
    waiter: &'a RxWaiter,
}

impl RxWaiter {
    /// Listens to the stream of `file`. One that is polled busily tells nothing. After `poll_fallback` without an arrival the
    /// stream is asked.
    ///
    /// # Safety
    ///
    /// `file` must stay open until the waiter has been dropped.
    pub(super) unsafe fn new(file: &OpenFile, poll_fallback: Jiffies) -> Result<Pin<KBox<Self>>> {
        let waiter = KBox::pin_init(
            pin_init!(Self {
                poll_fallback,
                arrival <- Event::new(),
                changed: AtomicFlag::new(true),
                entries <- Opaque::ffi_init(|entries: *mut [bindings::wait_queue_entry; MAX_QUEUES]| {
                    // SAFETY: `entries` may be written.
                    unsafe {
                        entries.write(core::array::from_fn(|_| bindings::wait_queue_entry {
                            func: Some(on_wake),
                            ..Default::default()
                        }));
                    }
                }),
                queues: [const { Atomic::new(null_mut()) }; MAX_QUEUES],
                unannounced: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let mut enlisting = Enlisting {
            table: bindings::poll_table_struct {
                _qproc: Some(enlist),
                _key: !0,
            },
            waiter: &waiter,
        };
        // SAFETY: The table is the same C struct in both bindings, and `drop` takes the waiter out.
        unsafe { file.poll((&raw mut enlisting.table).cast()) };
        Ok(waiter)
    }

    /// Whether there is nothing to be told: the stream has no wait queue.
    pub(super) fn has_no_queue(&self) -> bool {
        self.queues[0].load(Relaxed).is_null()
    }

    /// Sleeps until a read of `file`, whose waiter this is and which has a queue, has something to tell: data, or that the stream
    /// has come to an end.
    ///
    /// Calls `before_sleep` unless there is something already, also if it is the read that may sleep. Fails with `EINTR`
    /// when the thread is being stopped.
    pub(super) fn await_arrival(&self, file: &OpenFile, before_sleep: &mut impl FnMut()) -> Result {
        let mut woken_by = Wake::Raised;
        loop {
            if self.changed.xchg(false, Full) {
                before_sleep();
                return Ok(());
            }
            // SAFETY: A table is needed only to be woken later.
            let events = unsafe { file.poll(null_mut()) };
            if events & READABLE != 0 {
                self.note_announcement(woken_by);
                return Ok(());
            }
            before_sleep();
            // Whatever has come since the stream was asked has raised the event.
            woken_by = self.arrival.wait(self.poll_fallback);
            if woken_by == Wake::Interrupted {
                return Err(EINTR);
            }
        }
    }

    /// Something has come, after this.
    fn note_announcement(&self, woken_by: Wake) {
        let unannounced = match woken_by {
            Wake::Timeout => self.unannounced.load(Relaxed).saturating_add(1),
            Wake::Raised | Wake::Interrupted => 0,
        };
        self.unannounced.store(unannounced, Relaxed);
        if unannounced == UNANNOUNCED_LIMIT {
            pr_warn_once!(
                "the stream driver does not tell of what arrives: a rail finds it only when it asks\n"
            );
        }
    }

    /// The entry for the queue with this index.
    fn entry(&self, index: usize) -> *mut bindings::wait_queue_entry {
        self.entries
            .get()
            .cast::<bindings::wait_queue_entry>()
            .wrapping_add(index)
    }
}

#[pinned_drop]
impl PinnedDrop for RxWaiter {
    fn drop(self: Pin<&mut Self>) {
        for (index, queue) in self.queues.iter().enumerate() {
            let queue = queue.load(Relaxed);
            if !queue.is_null() {
                // SAFETY: By the type's invariants the entry is in that queue, which is there as long as the file is open.
                // Calls of `on_wake` hold the queue's lock, so there is none afterwards.
                unsafe { bindings::remove_wait_queue(queue, self.entry(index)) };
            }
        }
    }
}

/// Puts the waiter of an [`Enlisting`] into `queue`.
///
/// # Safety
///
/// To be called by a file's `poll` with the table of an [`Enlisting`] only.
unsafe extern "C" fn enlist(
    _file: *mut bindings::file,
    queue: *mut bindings::wait_queue_head,
    table: *mut bindings::poll_table_struct,
) {
    // SAFETY: It is the first field of an `Enlisting`, which the caller of `poll` holds.
    let waiter = unsafe { (*table.cast::<Enlisting<'_>>()).waiter };
    let mut queues = waiter.queues.iter().enumerate();
    let Some((index, slot)) = queues.find(|(_, slot)| slot.load(Relaxed).is_null()) else {
        pr_warn_once!(
            "the stream has more than {MAX_QUEUES} wait queues; not all are listened to\n"
        );
        return;
    };
    let entry = waiter.entry(index);
    // SAFETY: The entry is initialised, in no queue yet, and stays where it is, because the waiter is pinned.
    unsafe {
        (*entry).private = core::ptr::from_ref(waiter).cast_mut().cast();
        bindings::add_wait_queue(queue, entry);
    }
    // INVARIANT: As just done.
    slot.store(queue, Relaxed);
}

/// Wakes the receiving thread, but not for a frame that was sent.
///
/// # Safety
///
/// To be called by the wait queue with the entry of an [`RxWaiter`] only.
unsafe extern "C" fn on_wake(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    // SAFETY: By the invariants of `RxWaiter`, whose drop waits for this call.
    let waiter = unsafe { &*(*entry).private.cast::<RxWaiter>() };
    let events = key as usize as u32;
    if events & bindings::stream_shim_epollin != 0 {
        waiter.arrival.raise();
    } else if events == 0 || events & !SENT != 0 {
        waiter.changed.store(true, Relaxed);
        waiter.arrival.raise();
    }
    0
}
