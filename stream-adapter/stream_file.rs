// SPDX-License-Identifier: GPL-2.0

//! An open USB4STREAM.

use core::mem::MaybeUninit;

use kernel::bindings as kernel_bindings;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::time::Jiffies;

use super::bindings;
use super::open_file::OpenFile;
use super::rx_waiter::RxWaiter;
use crate::base::kthread::should_stop;
use crate::base::page_vec::PageVec;

/// A read that may wait.
const READ_FLAGS_NONE: c_int = 0;

/// The first pause of a reader that finds nothing in a stream without interrupts, in microseconds; pauses double.
const PAUSE_SHORT_US: usize = 50;

/// The longest one: rarely enough to leave the processor alone.
const PAUSE_LONG_US: usize = 1_000;

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
    waiter: Pin<KBox<RxWaiter>>,
    file: OpenFile,
}

impl StreamFile {
    /// Takes over an open file that behaves as a stream does. One that tells of what arrives, and has not for as long as
    /// `poll_fallback`, is asked.
    pub(crate) fn new(file: OpenFile, poll_fallback: Jiffies) -> Result<Self> {
        // SAFETY: `StreamFile` drops the file after the waiter.
        let waiter = unsafe { RxWaiter::new(&file, poll_fallback) }?;
        Ok(Self { waiter, file })
    }

    /// Whether no peer is attached to the stream: what is read and written then fails with `ENXIO`.
    pub(super) fn is_cut_off(&self) -> bool {
        // SAFETY: No waiter is added.
        let events = unsafe { self.file.poll(core::ptr::null_mut()) };
        events & bindings::stream_shim_epollhup != 0
    }

    /// Reads what has arrived, at least a byte, and waits until there is something. Before it sleeps, `before_sleep` is called.
    ///
    /// Fails with `EPIPE` when the peer has closed the stream or its directory was removed, `ENXIO` when
    /// the cable is unplugged, and `EINTR` when the thread is being stopped.
    pub fn read(&self, into: &mut [u8], mut before_sleep: impl FnMut()) -> Result<Read> {
        if self.waiter.has_no_queue() {
            return self.read_unannounced(into, before_sleep);
        }
        self.waiter.await_arrival(&self.file, &mut before_sleep)?;
        self.read_once(into, READ_FLAGS_NONE)
    }

    /// Reads from a stream without interrupts (`busy_poll`): it has to be asked whether something has arrived. A read that waits would
    /// ask without a pause.
    fn read_unannounced(&self, into: &mut [u8], mut before_sleep: impl FnMut()) -> Result<Read> {
        let mut pause_us = PAUSE_SHORT_US;
        loop {
            match self.read_once(into, bindings::stream_shim_rwf_nowait) {
                Err(error) if error == EAGAIN => {}
                Err(error) if is_code(error, kernel_bindings::EOPNOTSUPP) => {
                    before_sleep();
                    return self.read_once(into, READ_FLAGS_NONE);
                }
                result => return result,
            }
            before_sleep();
            if should_stop() {
                return Err(EINTR);
            }
            // SAFETY: We are a thread that may sleep.
            unsafe {
                bindings::usleep_range_state(
                    pause_us,
                    2 * pause_us,
                    kernel_bindings::TASK_INTERRUPTIBLE,
                )
            };
            pause_us = (2 * pause_us).min(PAUSE_LONG_US);
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
        let mut iter = new_iter(kernel_bindings::ITER_SOURCE, from);
        // SAFETY: The file is open for writing, and the iterator's pages are alive.
        let n = check(unsafe {
            kernel_bindings::vfs_iter_write(
                self.file.as_ptr(),
                &mut iter,
                core::ptr::null_mut(),
                bindings::stream_shim_rwf_nowait,
            )
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
        let mut iter = new_iter(kernel_bindings::ITER_SOURCE, from);
        let mut left = from.len();
        while left > 0 {
            // SAFETY: The file is open for writing, and the iterator's pages are alive.
            let n = check(unsafe {
                kernel_bindings::vfs_iter_write(
                    self.file.as_ptr(),
                    &mut iter,
                    core::ptr::null_mut(),
                    0,
                )
            })?;
            // A driver that takes nothing, or more than there is, would be asked for ever.
            left = match n {
                0 => return Err(EIO),
                n => left.checked_sub(n).ok_or(EIO)?,
            };
        }
        Ok(())
    }
}

/// An iterator over the spans of `pages`, which must outlive it unchanged.
fn new_iter(direction: u32, pages: &PageVec) -> kernel_bindings::iov_iter {
    let mut iter = MaybeUninit::uninit();
    let spans = pages.as_bio_vecs();
    // SAFETY: `spans` holds as many initialised `bio_vec`s as given, with that many bytes in all.
    unsafe {
        kernel_bindings::iov_iter_bvec(
            iter.as_mut_ptr(),
            direction,
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
