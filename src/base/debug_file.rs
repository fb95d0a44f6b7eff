// SPDX-License-Identifier: GPL-2.0

//! A file in debugfs, with an owner: the module stays as long as somebody has it open. (Those of the kernel crate have none.)

use core::ptr::NonNull;

use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::str::CStr;

use crate::base::bindings;

/// What is to be read in a file.
pub(crate) trait Shown: Send + Sync + 'static {
    /// Writes it to `file`, from the beginning: more than once if `file` turns out to be too short.
    fn show(&self, file: &SeqFile);
}

/// The file, alone in a directory. Both are removed when this is dropped, when nobody reads any more.
///
/// # Invariants
///
/// `source` was made by [`KBox::into_raw`], and is shared with nobody but the file.
pub(crate) struct DebugFile<T: Shown> {
    /// No pointer to anything without debugfs, which its functions know.
    directory: *mut c_void,
    source: NonNull<Source<T>>,
}

/// What the file is made from.
#[repr(C)]
struct Source<T> {
    /// Comes first: it is what the file knows.
    head: bindings::base_shim_debug_source,
    shown: T,
}

// SAFETY: The directory may be removed by any thread, and what is shown may be had, used and dropped by any.
unsafe impl<T: Shown> Send for DebugFile<T> {}

// SAFETY: There is nothing that could be done to it but dropping it.
unsafe impl<T: Shown> Sync for DebugFile<T> {}

impl<T: Shown> DebugFile<T> {
    /// Makes the file `name` in a new `directory`. Without debugfs there is none, which is no error.
    pub(crate) fn new(directory: &CStr, name: &CStr, shown: T) -> Result<Self> {
        let head = bindings::base_shim_debug_source {
            show: Some(Self::show),
        };
        let source = KBox::into_raw(KBox::new(Source { head, shown }, GFP_KERNEL)?);
        // SAFETY: Both names end with zeros, and the source lives until the directory is removed.
        let directory = unsafe {
            bindings::base_shim_debug_file(
                directory.as_char_ptr(),
                name.as_char_ptr(),
                source.cast(),
            )
        };
        // INVARIANT: It was made just now.
        // SAFETY: Boxes are nowhere but in memory.
        let source = unsafe { NonNull::new_unchecked(source) };
        Ok(Self { directory, source })
    }

    /// Called by the file.
    ///
    /// # Safety
    ///
    /// `file` must be the `struct seq_file` of who reads, who is the calling thread, and `source` that of the file.
    unsafe extern "C" fn show(file: *mut c_void, source: *const bindings::base_shim_debug_source) {
        // SAFETY: As required from the caller; the box has the source in it, at its beginning.
        let (file, source) =
            unsafe { (SeqFile::from_raw(file.cast()), &*source.cast::<Source<T>>()) };
        source.shown.show(file);
    }
}

impl<T: Shown> Drop for DebugFile<T> {
    fn drop(&mut self) {
        // SAFETY: It came from `base_shim_debug_file()`. This waits for who reads, and makes that nobody reads it any more.
        unsafe { bindings::base_shim_debug_remove(self.directory) };
        // SAFETY: By the type's invariants, and as nobody reads it any more.
        drop(unsafe { KBox::from_raw(self.source.as_ptr()) });
    }
}
