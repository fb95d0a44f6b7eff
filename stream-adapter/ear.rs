// SPDX-License-Identifier: GPL-2.0

//! An ear at a stream: an entry of its wait queue that tells what arrives from what was sent.
//!
//! The stream has one wait queue, and wakes it once for each frame that has arrived and once for each one that was sent.
//! A thread that sleeps inside the driver's read is woken for both, and so by each frame that the same host sends: it
//! then interrupts the worker that is telling so, finds nothing, and sleeps again, frame by frame.

use core::ffi::c_int;
use core::ffi::c_uint;
use core::ffi::c_void;
use core::ptr::null_mut;

use kernel::container_of;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::AtomicFlag;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;
use kernel::types::Opaque;

use super::bindings;
use super::event::Event;
use super::event::Wake;
use super::open_file::OpenFile;

/// After so long without an arrival the stream is asked: it tells nobody of frames that have arrived damaged.
const PATIENCE_MS: Msecs = 1_000;

/// Hears what happens to an open stream.
///
/// # Invariants
///
/// `queue` is NULL, or `entry` is in that wait queue and calls [`on_wake`].
#[pin_data(PinnedDrop)]
pub(super) struct Ear {
    #[pin]
    arrival: Event,
    /// Something other than a frame has come, or may have come before anyone listened.
    changed: AtomicFlag,
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    queue: Atomic<*mut bindings::wait_queue_head>,
}

// SAFETY: The entry may be taken out of its queue by any thread.
unsafe impl Send for Ear {}

// SAFETY: What is shared are atomics and an event; the entry is the queue's, under its lock.
unsafe impl Sync for Ear {}

/// A poll table that puts `ear` into the queue it is given.
///
/// `repr(C)`: [`enlist`] is called with a pointer to the first field.
#[repr(C)]
struct Enlisting<'a> {
    table: bindings::poll_table_struct,
    ear: &'a Ear,
}

impl Ear {
    /// Listens to the stream of `file`. One that is polled busily tells nothing.
    ///
    /// # Safety
    ///
    /// `file` must stay open until the ear has been dropped.
    pub(super) unsafe fn new(file: &OpenFile) -> Result<Pin<KBox<Self>>> {
        let ear = KBox::pin_init(
            pin_init!(Self {
                arrival <- Event::new(),
                changed: AtomicFlag::new(true),
                entry <- Opaque::ffi_init(|entry: *mut bindings::wait_queue_entry| {
                    // SAFETY: `entry` may be written.
                    unsafe {
                        entry.write(bindings::wait_queue_entry {
                            func: Some(on_wake),
                            ..Default::default()
                        });
                    }
                }),
                queue: Atomic::new(null_mut()),
            }),
            GFP_KERNEL,
        )?;
        let mut enlisting = Enlisting {
            table: bindings::poll_table_struct {
                _qproc: Some(enlist),
                _key: !0,
            },
            ear: &ear,
        };
        // SAFETY: The table is the same C struct in both bindings, and `drop` takes the waiter out.
        unsafe { file.poll((&raw mut enlisting.table).cast()) };
        Ok(ear)
    }

    /// Sleeps until a read of `file`, whose ear this is, has something to tell: data, or that the stream has come to an
    /// end. It does not sleep if the stream tells nothing.
    ///
    /// Calls `before_sleep` unless there is something already, also if it is the read that may sleep. Fails with `EINTR`
    /// when the thread is being stopped.
    pub(super) fn await_arrival(&self, file: &OpenFile, before_sleep: &mut impl FnMut()) -> Result {
        if self.queue.load(Relaxed).is_null() {
            before_sleep();
            return Ok(());
        }
        loop {
            if self.changed.xchg(false, Full) {
                before_sleep();
                return Ok(());
            }
            // SAFETY: A table is needed only to be woken later.
            let events = unsafe { file.poll(null_mut()) };
            if events & (bindings::stream_shim_epollin | bindings::stream_shim_epollerr) != 0 {
                return Ok(());
            }
            before_sleep();
            // Whatever has come since the stream was asked has raised the event.
            match self.arrival.wait(msecs_to_jiffies(PATIENCE_MS)) {
                Wake::Raised | Wake::Timeout => {}
                Wake::Interrupted => return Err(EINTR),
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Ear {
    fn drop(self: Pin<&mut Self>) {
        let queue = self.queue.load(Relaxed);
        if !queue.is_null() {
            // SAFETY: By the type's invariants the entry is in that queue, which is there as long as the file is open.
            // Calls of `on_wake` hold the queue's lock, so there is none afterwards.
            unsafe { bindings::remove_wait_queue(queue, self.entry.get()) };
        }
    }
}

/// Puts the ear of an [`Enlisting`] into `queue`.
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
    let ear = unsafe { (*table.cast::<Enlisting<'_>>()).ear };
    if !ear.queue.load(Relaxed).is_null() {
        return;
    }
    // SAFETY: The entry is initialised, in no queue yet, and stays where it is, because the ear is pinned.
    unsafe { bindings::add_wait_queue(queue, ear.entry.get()) };
    // INVARIANT: As just done.
    ear.queue.store(queue, Relaxed);
}

/// Wakes the reader, but not for a frame that was sent.
///
/// # Safety
///
/// To be called by the wait queue with the entry of an [`Ear`] only.
unsafe extern "C" fn on_wake(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    // SAFETY: `Opaque` has the layout of what it holds. The drop of the ear waits for this call.
    let ear = unsafe { &*container_of!(Opaque::cast_from(entry), Ear, entry) };
    let events = key as usize as u32;
    if events & bindings::stream_shim_epollin != 0 {
        ear.arrival.raise();
    } else if events & bindings::stream_shim_epollout == 0 {
        ear.changed.store(true, Relaxed);
        ear.arrival.raise();
    }
    0
}
