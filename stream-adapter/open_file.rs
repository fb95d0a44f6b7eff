// SPDX-License-Identifier: GPL-2.0

//! An open file.

use core::ptr::NonNull;

use kernel::bindings;

/// A file, closed when this is dropped; that may take a stream up to about a second.
///
/// # Invariants
///
/// It is referenced and open for reading and writing.
pub(crate) struct OpenFile(NonNull<bindings::file>);

// SAFETY: A reference on a file may be used and put by any thread.
unsafe impl Send for OpenFile {}

// SAFETY: Files synchronise their operations themselves; the position is not used.
unsafe impl Sync for OpenFile {}

impl OpenFile {
    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// The file must be open for reading and writing, and the caller must own a reference to it.
    pub(crate) unsafe fn from_raw(file: NonNull<bindings::file>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(file)
    }

    /// The file.
    pub(crate) fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// What the file is ready for, as `EPOLL` bits; adds a waiter if there is a table. May sleep.
    ///
    /// # Safety
    ///
    /// `table` must be NULL or valid, and the waiters it adds must be out before the file is closed.
    pub(crate) unsafe fn poll(&self, table: *mut bindings::poll_table) -> u32 {
        // SAFETY: By the type's invariants the file is open, and its operations are set for as long as it is.
        let poll = unsafe { (*(*self.as_ptr()).f_op).poll };
        // SAFETY: As the file system layer would call it.
        poll.map_or(0, |poll| unsafe { poll(self.as_ptr(), table) })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // A plain `fput()` would leave the closing to a work item some time later, and reopening before
        // that would join the old session's rings. Nothing that closing a stream does needs this
        // thread: no locks are held here.
        // SAFETY: By the type's invariants we hold a reference.
        unsafe { bindings::__fput_sync(self.as_ptr()) };
    }
}
