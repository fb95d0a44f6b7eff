// SPDX-License-Identifier: GPL-2.0

//! An open USB4STREAM.

use core::mem::MaybeUninit;

use kernel::bindings as kernel_bindings;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::atomic::AtomicFlag;
use kernel::sync::atomic::Relaxed;

use super::bindings;
use super::open_file::OpenFile;
use super::stream_waiter::Change;
use super::stream_waiter::Patience;
use super::stream_waiter::StreamWaiter;
use crate::base::clock;
use crate::base::event::Wake;
use crate::base::kthread::should_stop;
use crate::base::page_vec::PageVec;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::ids::Instant;

/// A read that may wait.
const READ_FLAGS_NONE: c_int = 0;

/// The first pause of a reader that finds nothing in a stream without interrupts, in microseconds; pauses double.
const PAUSE_SHORT_US: usize = 50;

/// The longest one: rarely enough to leave the processor alone.
const PAUSE_LONG_US: usize = 1_000;

/// What a read has something to tell of: data, or that the stream has come to an end.
const READABLE: u32 =
    bindings::stream_shim_epollin | bindings::stream_shim_epollerr | bindings::stream_shim_epollhup;

/// What a read may fail with that met damaged bytes. Until Linux 7.3 they are handed up in silence; later drivers give
/// an error in their place. The `kernel` crate of Linux 7.2 has no names for some of these.
const DAMAGE: [u32; 4] = [
    kernel_bindings::EIO,
    kernel_bindings::EBADMSG,
    kernel_bindings::EILSEQ,
    kernel_bindings::EPROTO,
];

/// Whether `error` is the error number `code`.
fn is_code(error: Error, code: u32) -> bool {
    error.to_errno().unsigned_abs() == code
}

/// What a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Whatever comes, if anything does.
    Anything,
    /// So many bytes of something that has arrived in part: they are on their way.
    Rest(usize),
}

/// The most frames that a reader waits for before it looks: what it copies and checks meanwhile, it need not do when the last one has
/// come.
const MOST_FRAMES: usize = 8;

impl Wanted {
    /// How many frames bring it, or a good part of it.
    fn frames(self) -> i32 {
        let bytes = match self {
            Self::Anything => 1,
            Self::Rest(bytes) => bytes,
        };
        bytes.div_ceil(STREAM_FRAME).clamp(1, MOST_FRAMES) as i32
    }
}

/// For how long a reader may sleep that finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nap {
    /// Until something comes.
    Long,
    /// Until this time, which will come soon. Then it asks again.
    Until(Instant),
}

/// What a read has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// An error in place of bytes that were damaged on the way. What comes next can be read.
    Damaged(Error),
}

/// An open stream.
///
/// One thread may read while another one writes. Both calls sleep interruptibly, and each copies under the driver's one
/// mutex. Dropping the file closes the stream and waits for it, up
/// to about a second.
pub struct StreamFile {
    // Before the file, which must be open as long as it is listened to.
    waiter: Pin<KBox<StreamWaiter>>,
    file: OpenFile,
    /// Whether it is known that the driver does not understand reads that must not wait: those of Linux 7.2 do not.
    is_always_waiting: AtomicFlag,
}

impl StreamFile {
    /// Takes over an open file that behaves as a stream does.
    pub(crate) fn new(file: OpenFile, patience: Patience) -> Result<Self> {
        // SAFETY: `StreamFile` drops the file after the waiter.
        let waiter = unsafe { StreamWaiter::new(&file, patience) }?;
        Ok(Self {
            waiter,
            file,
            is_always_waiting: AtomicFlag::new(false),
        })
    }

    /// Whether no peer is attached to the stream: what is read and written then fails with `ENXIO`.
    pub(super) fn is_cut_off(&self) -> bool {
        // SAFETY: No waiter is added.
        let events = unsafe { self.file.poll(core::ptr::null_mut()) };
        events & bindings::stream_shim_epollhup != 0
    }

    /// Reads what has arrived, at least a byte, and waits for what is `wanted` if there is nothing. Before it sleeps, `before_sleep`
    /// says for how long it may, but is not asked if it is known that there is more on its way.
    ///
    /// Fails with `EPIPE` when the peer has closed the stream or its directory was removed, `ENXIO` when
    /// the cable is unplugged, and `EINTR` when the thread is being stopped.
    pub fn read(
        &self,
        into: &mut [u8],
        mut wanted: Wanted,
        mut before_sleep: impl FnMut() -> Nap,
    ) -> Result<Read> {
        if self.waiter.has_no_queue() {
            return self.read_unannounced(into, before_sleep);
        }
        let mut woken_by = Wake::Raised;
        loop {
            if self.waiter.expect_arrivals(wanted.frames()) == Change::News {
                while let Nap::Until(_) = before_sleep() {
                    pause(PAUSE_SHORT_US)?;
                }
                return self.read_once(into, READ_FLAGS_NONE);
            }
            if let Some(read) = self.read_arrived(into) {
                self.waiter.note_announcement(woken_by);
                return read;
            }
            match wanted {
                Wanted::Rest(_) => {
                    self.waiter.await_rest()?;
                    // What is still missing then may be lost.
                    wanted = Wanted::Anything;
                }
                Wanted::Anything => {
                    woken_by = self.await_arrival(&mut before_sleep)?;
                }
            }
        }
    }

    /// Sleeps until something has come, for as long as `before_sleep` says.
    fn await_arrival(&self, before_sleep: &mut impl FnMut() -> Nap) -> Result<Wake> {
        while let Nap::Until(until) = before_sleep() {
            let timeout = clock::delta_until(until);
            if self.waiter.await_arrival_briefly(timeout)? == Wake::Raised {
                return Ok(Wake::Raised);
            }
        }
        self.waiter.await_arrival()
    }

    /// Reads what has arrived, if anything has.
    fn read_arrived(&self, into: &mut [u8]) -> Option<Result<Read>> {
        if !self.is_always_waiting.load(Relaxed) {
            match self.read_once(into, bindings::stream_shim_rwf_nowait) {
                // Nothing is there, or somebody writes.
                Err(error) if error == EAGAIN => {}
                Err(error) if is_code(error, kernel_bindings::EOPNOTSUPP) => {
                    self.is_always_waiting.store(true, Relaxed);
                }
                result => return Some(result),
            }
        }
        // SAFETY: No waiter is added.
        let events = unsafe { self.file.poll(core::ptr::null_mut()) };
        (events & READABLE != 0).then(|| self.read_once(into, READ_FLAGS_NONE))
    }

    /// Reads from a stream without interrupts (`busy_poll`): it has to be asked whether something has arrived. A read that waits would
    /// ask without a pause.
    fn read_unannounced(
        &self,
        into: &mut [u8],
        mut before_sleep: impl FnMut() -> Nap,
    ) -> Result<Read> {
        let mut pause_us = PAUSE_SHORT_US;
        loop {
            match self.read_once(into, bindings::stream_shim_rwf_nowait) {
                Err(error) if error == EAGAIN => {}
                Err(error) if is_code(error, kernel_bindings::EOPNOTSUPP) => {
                    while let Nap::Until(_) = before_sleep() {
                        pause(PAUSE_SHORT_US)?;
                    }
                    return self.read_once(into, READ_FLAGS_NONE);
                }
                result => return result,
            }
            match before_sleep() {
                Nap::Until(_) => pause(PAUSE_SHORT_US)?,
                Nap::Long => {
                    pause(pause_us)?;
                    pause_us = (2 * pause_us).min(PAUSE_LONG_US);
                }
            }
        }
    }

    fn read_once(&self, into: &mut [u8], flags: c_int) -> Result<Read> {
        let vec = kernel_bindings::kvec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        let mut iter = MaybeUninit::uninit();
        // SAFETY: The one `kvec` outlives the iterator, and its bytes are borrowed exclusively.
        unsafe {
            kernel_bindings::iov_iter_kvec(
                iter.as_mut_ptr(),
                kernel_bindings::ITER_DEST,
                &vec,
                1,
                into.len(),
            )
        };
        // SAFETY: The file is open for reading; `iov_iter_kvec` has initialised the iterator.
        let result = check(unsafe {
            kernel_bindings::vfs_iter_read(
                self.file.as_ptr(),
                iter.as_mut_ptr(),
                core::ptr::null_mut(),
                flags,
            )
        });
        match result {
            Ok(0) => Err(EPIPE),
            Ok(n) => Ok(Read::Bytes(n)),
            Err(error) if DAMAGE.iter().any(|&code| is_code(error, code)) => {
                Ok(Read::Damaged(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes all bytes of `from`, at most 4096, as one frame, if that is possible at once.
    ///
    /// Fails with `EAGAIN` when the stream has no room or somebody else is using it, and as
    /// [`StreamFile::write`] does; nothing has been written then.
    pub fn try_write(&self, from: &PageVec) -> Result {
        let mut iter = new_source(from);
        // SAFETY: The file is open for writing, and the iterator's pages are alive.
        let n = check(unsafe {
            bindings::stream_shim_try_write(self.file.as_ptr().cast(), (&raw mut iter).cast())
        })?;
        if n == from.len() {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Writes all bytes of `from`, waiting for room as often as necessary.
    ///
    /// A write of at most 4096 bytes travels as one frame. Fails with `ENXIO` when the stream is closed
    /// by the peer or unplugged, and with `EINTR` when the thread is being stopped; then the peer may
    /// have received a part.
    pub fn write(&self, from: &PageVec) -> Result {
        let mut iter = new_source(from);
        let mut left = from.len();
        loop {
            self.waiter.expect_room();
            // SAFETY: The file is open for writing, and the iterator's pages are alive.
            let n = check(unsafe {
                kernel_bindings::vfs_iter_write(
                    self.file.as_ptr(),
                    &mut iter,
                    core::ptr::null_mut(),
                    0,
                )
            })?;
            let given = left;
            // A driver that takes nothing, or more than there is, would be asked for ever.
            left = match n {
                0 => return Err(EIO),
                n => given.checked_sub(n).ok_or(EIO)?,
            };
            if left == 0 {
                return Ok(());
            }
            // Drivers of early releases of Linux 7.2 take half of what they have room for, and are asked again at once.
            let is_full = n < given / 2;
            if is_full && !self.waiter.has_no_queue() {
                self.waiter.await_room()?;
            }
        }
    }
}

/// Sleeps for `pause_us` microseconds, or twice as long. Fails with `EINTR` when the thread is being stopped.
fn pause(pause_us: usize) -> Result {
    if should_stop() {
        return Err(EINTR);
    }
    // SAFETY: We are a thread that may sleep.
    unsafe {
        bindings::usleep_range_state(pause_us, 2 * pause_us, kernel_bindings::TASK_INTERRUPTIBLE)
    };
    Ok(())
}

/// An iterator that takes the bytes of `pages`, which must outlive it unchanged.
fn new_source(pages: &PageVec) -> kernel_bindings::iov_iter {
    let mut iter = MaybeUninit::uninit();
    let spans = pages.as_bio_vecs();
    // SAFETY: `spans` holds as many initialised `bio_vec`s as given, with that many bytes in all.
    unsafe {
        kernel_bindings::iov_iter_bvec(
            iter.as_mut_ptr(),
            kernel_bindings::ITER_SOURCE,
            spans.as_ptr(),
            spans.len(),
            pages.len(),
        )
    };
    // SAFETY: `iov_iter_bvec` has initialised it.
    unsafe { iter.assume_init() }
}

/// Turns the C convention into a result. The kernel-internal "restart the system call" is `EINTR` here.
fn check(ret: isize) -> Result<usize> {
    match usize::try_from(ret) {
        Ok(n) => Ok(n),
        Err(_) if ret == -(kernel_bindings::ERESTARTSYS as isize) => Err(EINTR),
        Err(_) => Err(Error::from_errno(ret as i32)),
    }
}
