// SPDX-License-Identifier: GPL-2.0

//! A USB4STREAM device: where it is, and an open file of it.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::error::from_err_ptr;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;
use kernel::time::Msecs;

use super::bindings;
use super::ear::Ear;
use super::open_file::OpenFile;
use super::stream_source::StreamSource;
use crate::base::kthread::should_stop;
use crate::base::page_vec::PageVec;

/// Misc devices' major number (`include/linux/major.h`).
const MISC_MAJOR: u32 = 10;

/// Bits of a device number below its major number (`include/linux/kdev_t.h`).
const MINOR_BITS: u32 = 20;

/// How the stream driver names its devices.
const DEVICE_PREFIX: &[u8] = b"tbstream";

/// After so long without an arrival a stream is asked: it tells nobody of frames that have arrived damaged.
const PATIENCE_MS: Msecs = 1_000;

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

/// A stream device's node, found once and held.
///
/// A kernel thread has no file system to resolve names in, so this is made in the context of the
/// process that configures the rail. The node outlives an unplugged cable; it goes away with the
/// stream's configfs directory.
///
/// # Invariants
///
/// `path` is referenced and leads to the node of a misc device.
pub struct StreamPath {
    path: kernel_bindings::path,
}

// SAFETY: References on a mount and a dentry may be put by any thread.
unsafe impl Send for StreamPath {}

// SAFETY: Opening through a shared `struct path` does not change it.
unsafe impl Sync for StreamPath {}

impl StreamPath {
    /// Looks up `name` as the calling process sees it.
    ///
    /// Fails with the look-up's error, or with `ENODEV` when the name is not that of a stream device.
    pub fn resolve(name: &CStr) -> Result<Self> {
        let mut path = MaybeUninit::<bindings::path>::zeroed();
        // SAFETY: `name` is a C string, `path` is writable.
        to_result(unsafe {
            bindings::kern_path(
                name.as_char_ptr(),
                bindings::stream_shim_lookup_follow,
                path.as_mut_ptr(),
            )
        })?;
        // SAFETY: `kern_path` has succeeded. Both types are bindings of the same C struct.
        let path = unsafe { path.as_ptr().cast::<kernel_bindings::path>().read() };
        // INVARIANT: `kern_path` took the references.
        let this = Self { path };
        if this.is_stream_device() {
            Ok(this)
        } else {
            Err(ENODEV)
        }
    }

    fn is_stream_device(&self) -> bool {
        // SAFETY: By the type's invariants the dentry is alive, and one that was looked up has an inode,
        // whose mode and device number never change.
        let (mode, device) = unsafe {
            let inode = (*self.path.dentry).d_inode;
            (u32::from((*inode).i_mode), (*inode).i_rdev)
        };
        mode & kernel_bindings::S_IFMT == kernel_bindings::S_IFCHR
            && device >> MINOR_BITS == MISC_MAJOR
            && self.name_starts_with(DEVICE_PREFIX)
    }

    fn name_starts_with(&self, prefix: &[u8]) -> bool {
        let mut name = [0u8; 32];
        // SAFETY: The dentry is alive; the format and its argument match; `%pd` reads the name safely
        // against renaming and the buffer's size bounds the output.
        unsafe {
            kernel_bindings::snprintf(
                name.as_mut_ptr().cast(),
                name.len(),
                c"%pd".as_char_ptr(),
                self.path.dentry,
            )
        };
        name.starts_with(prefix)
    }
}

impl StreamSource for StreamPath {
    /// Whether the node was deleted: the stream's directory is gone and will not come back under it.
    fn is_deleted(&self) -> bool {
        // SAFETY: The dentry and its inode are alive; a torn read of the count is impossible.
        unsafe {
            core::ptr::read_volatile(
                &raw const (*(*self.path.dentry).d_inode).__bindgen_anon_1.i_nlink,
            ) == 0
        }
    }

    /// The driver sets up its rings and the path to the peer.
    fn open(&self) -> Result<StreamFile> {
        // A deleted node's number may by now be another misc device's.
        if self.is_deleted() {
            return Err(ENODEV);
        }
        let flags = (bindings::O_RDWR | bindings::O_NONBLOCK) as i32;
        // SAFETY: The path is referenced; the current thread's credentials stay during the call.
        let file = from_err_ptr(unsafe {
            let cred = (*kernel_bindings::get_current()).cred;
            kernel_bindings::dentry_open(&self.path, flags, cred)
        })?;
        // SAFETY: `dentry_open` returned a reference.
        let file = unsafe { OpenFile::from_raw(NonNull::new(file).ok_or(ENODEV)?) };
        // Anyone who may make nodes can give a stream's name to another misc device.
        // SAFETY: The file is open.
        if !unsafe { bindings::stream_shim_is_stream(file.as_ptr().cast()) } {
            return Err(ENODEV);
        }
        // Only the open itself was not to block. Nobody else knows the file yet, so that no lock is
        // needed.
        // SAFETY: As just said; the file is alive.
        unsafe { (*file.as_ptr()).f_flags &= !bindings::O_NONBLOCK };
        StreamFile::new(file, msecs_to_jiffies(PATIENCE_MS))
    }
}

impl Drop for StreamPath {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants we hold the references.
        unsafe { kernel_bindings::path_put(&self.path) };
    }
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
    ear: Pin<KBox<Ear>>,
    file: OpenFile,
}

impl StreamFile {
    /// Takes over an open file that behaves as a stream does. One that tells of what arrives, and has not for as long as
    /// `patience`, is asked.
    pub(crate) fn new(file: OpenFile, patience: Jiffies) -> Result<Self> {
        // SAFETY: `StreamFile` drops the file after the ear.
        let ear = unsafe { Ear::new(&file, patience) }?;
        Ok(Self { ear, file })
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
        if self.ear.is_deaf() {
            return self.read_unannounced(into, before_sleep);
        }
        self.ear.await_arrival(&self.file, &mut before_sleep)?;
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
