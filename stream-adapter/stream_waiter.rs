// SPDX-License-Identifier: GPL-2.0

//! Who waits for a stream: an entry in each of its wait queues that tells what arrives from what was sent, and counts either.
//!
//! The stream has one wait queue (or more, for all we know), and wakes it once for each frame that has arrived and once for each one that was sent.
//! A thread that sleeps inside the driver's read or write is woken for both, and so by each frame that the same host sends or gets: it
//! then interrupts the worker that is telling so, finds nothing or one frame, and sleeps again, frame by frame.

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
use kernel::time::Delta;
use kernel::time::Jiffies;
use kernel::types::Opaque;

use super::bindings;
use super::frame_countdown::FrameCountdown;
use super::open_file::OpenFile;
use crate::base::event::Wake;

/// When so many time-outs in a row have found data that nobody had announced, a warning is logged: it slows the rail down.
const UNANNOUNCED_LIMIT: u32 = 3;

/// How many frames the transmitting thread waits for when a stream is full: few enough to be under way in the smallest ring, of
/// which the driver fills 31 places (`TBSTREAM_DEV_MIN_RING_SIZE` of drivers/thunderbolt/stream.c), and about as many as a long
/// segment takes.
const ROOM_FRAMES: i32 = 16;

/// What a stream is woken with for a frame that has arrived.
const ARRIVED: u32 = bindings::stream_shim_epollin | bindings::stream_shim_epollrdnorm;

/// What it is woken with for a frame that was sent.
const SENT: u32 = bindings::stream_shim_epollout | bindings::stream_shim_epollwrnorm;

/// Any other event counts as a change.
const FRAMES: u32 = ARRIVED | SENT;

/// Most wait queues of one stream that are listened to: one for each direction, and some to spare.
const MAX_QUEUES: usize = 4;

/// How long a stream is believed that tells nothing.
#[derive(Clone, Copy)]
pub struct Patience {
    /// After so long without an arrival it is asked.
    pub idle: Jiffies,
    /// After so long, if frames are on their way.
    pub under_way: Jiffies,
}

/// Whether something has come that is no frame, or may have come before anyone listened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Something has come, or may have.
    News,
    /// Nothing but frames has come.
    Nothing,
}

/// Waits for what happens to an open stream.
///
/// # Invariants
///
/// Each of `queues` is NULL, or the entry of the same index is in that wait queue, calls [`on_wake`], and its `private` points to
/// the waiter.
#[pin_data(PinnedDrop)]
pub(super) struct StreamWaiter {
    patience: Patience,
    /// Frames that arrive.
    #[pin]
    arrivals: FrameCountdown,
    /// Frames that have been sent.
    #[pin]
    departures: FrameCountdown,
    /// Something other than a frame has come, or may have come before anyone listened.
    changed: AtomicFlag,
    #[pin]
    entries: Opaque<[bindings::wait_queue_entry; MAX_QUEUES]>,
    queues: [Atomic<*mut bindings::wait_queue_head>; MAX_QUEUES],
    /// Time-outs in a row that have found data.
    unannounced: Atomic<u32>,
}

// SAFETY: The entries may be taken out of their queues by any thread.
unsafe impl Send for StreamWaiter {}

// SAFETY: What is shared are atomics and an event; the entries are the queues', under their locks.
unsafe impl Sync for StreamWaiter {}

/// A poll table that puts `waiter` into the queues it is given.
///
/// `repr(C)`: [`enlist`] is called with a pointer to the first field.
#[repr(C)]
struct Enlisting<'a> {
    table: bindings::poll_table_struct,
    waiter: &'a StreamWaiter,
}

impl StreamWaiter {
    /// Listens to the stream of `file`. One that is polled busily tells nothing.
    ///
    /// # Safety
    ///
    /// `file` must stay open until the waiter has been dropped.
    pub(super) unsafe fn new(file: &OpenFile, patience: Patience) -> Result<Pin<KBox<Self>>> {
        let waiter = KBox::pin_init(
            pin_init!(Self {
                patience,
                arrivals <- FrameCountdown::new(),
                departures <- FrameCountdown::new(),
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

    /// Begins to count what arrives: a wait for it ends with the last of `frames` more. To be called before
    /// looking for what has arrived.
    ///
    /// Says whether something else has come, which only a read can tell.
    pub(super) fn expect_arrivals(&self, frames: i32) -> Change {
        self.arrivals.expect(frames);
        if self.changed.xchg(false, Full) {
            Change::News
        } else {
            Change::Nothing
        }
    }

    /// Sleeps until what is expected has arrived, or something else has come, but not much longer than frames take that are on
    /// their way.
    ///
    /// Fails with `EINTR` when the thread is being stopped.
    pub(super) fn await_rest(&self) -> Result {
        self.wait(&self.arrivals, self.patience.under_way)
            .map(|_| ())
    }

    /// Sleeps until something has come. Fails as [`Self::await_rest`] does.
    pub(super) fn await_arrival(&self) -> Result<Wake> {
        self.wait(&self.arrivals, self.patience.idle)
    }

    /// Sleeps until something has come, but not longer than `timeout`, which is much shorter than a tick. Fails as
    /// [`Self::await_rest`] does.
    pub(super) fn await_arrival_briefly(&self, timeout: Delta) -> Result<Wake> {
        woken(self.arrivals.wait_briefly(timeout))
    }

    /// Begins to count what is sent, for [`Self::await_room`]. To be called before a write that may find the stream full.
    pub(super) fn expect_room(&self) {
        self.departures.expect(ROOM_FRAMES);
    }

    /// Sleeps until a stream that was full has room for some frames, or something else has come. Fails as
    /// [`Self::await_rest`] does.
    pub(super) fn await_room(&self) -> Result {
        self.wait(&self.departures, self.patience.under_way)
            .map(|_| ())
    }

    fn wait(&self, frames: &FrameCountdown, timeout: Jiffies) -> Result<Wake> {
        woken(frames.wait(timeout))
    }

    /// Something has been found, after this.
    pub(super) fn note_announcement(&self, woken_by: Wake) {
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
impl PinnedDrop for StreamWaiter {
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

/// How a wait has ended. Fails with `EINTR` when the thread is being stopped.
fn woken(wake: Wake) -> Result<Wake> {
    match wake {
        Wake::Interrupted => Err(EINTR),
        Wake::Raised | Wake::Timeout => Ok(wake),
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

/// Counts a frame, or wakes both threads for anything else.
///
/// # Safety
///
/// To be called by the wait queue with the entry of an [`StreamWaiter`] only.
unsafe extern "C" fn on_wake(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    // SAFETY: By the invariants of `StreamWaiter`, whose drop waits for this call.
    let waiter = unsafe { &*(*entry).private.cast::<StreamWaiter>() };
    let events = key as usize as u32;
    if events == 0 || events & !FRAMES != 0 {
        waiter.changed.store(true, Relaxed);
        waiter.arrivals.interrupt();
        waiter.departures.interrupt();
        return 0;
    }
    if events & ARRIVED != 0 {
        waiter.arrivals.count();
    }
    if events & SENT != 0 {
        waiter.departures.count();
    }
    0
}
