// SPDX-License-Identifier: GPL-2.0

//! Where a USB4STREAM device is.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::error::from_err_ptr;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;
use kernel::time::Msecs;

use super::bindings;
use super::open_file::OpenFile;
use super::stream_file::StreamFile;
use super::stream_source::StreamSource;
use super::stream_waiter::Patience;

/// Misc devices' major number (`include/linux/major.h`).
const MISC_MAJOR: u32 = 10;

/// Bits of a device number below its major number (`include/linux/kdev_t.h`).
const MINOR_BITS: u32 = 20;

/// How the stream driver names its devices.
const DEVICE_PREFIX: &[u8] = b"tbstream";

/// Room for the beginning of a node's name: longer than [`DEVICE_PREFIX`], which is all that is looked at.
const NAME_ROOM: usize = 32;

/// After so long without an arrival a stream is asked: it tells nobody of frames that have arrived damaged.
const POLL_FALLBACK_MS: Msecs = 1_000;

/// The same if frames are on their way. The shortest time there is: over any cable they take less.
const UNDER_WAY: Jiffies = 1;

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
        let mut name = [0u8; NAME_ROOM];
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
        let patience = Patience {
            idle: msecs_to_jiffies(POLL_FALLBACK_MS),
            under_way: UNDER_WAY,
        };
        StreamFile::new(file, patience)
    }
}

impl Drop for StreamPath {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants we hold the references.
        unsafe { kernel_bindings::path_put(&self.path) };
    }
}
