// SPDX-License-Identifier: GPL-2.0

//! Threads for works that may sleep for as long as others like.
//!
//! The kernel's own queues run a bounded number of works at a time, for everybody: those that sleep without end would
//! in the end stop all.

use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::prelude::*;
use kernel::workqueue::Queue;

use crate::base::bindings;

/// A queue of works with threads of its own.
///
/// Dropping it waits for the works, so none of them may drop it.
///
/// # Invariants
///
/// The queue exists, and is destroyed when this is dropped.
pub(crate) struct Sleepers(NonNull<bindings::workqueue_struct>);

// SAFETY: A work queue may be used, and destroyed, by any thread.
unsafe impl Send for Sleepers {}
// SAFETY: As above.
unsafe impl Sync for Sleepers {}

impl Sleepers {
    /// An empty queue. Fails with `ENOMEM`.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        let queue = unsafe { bindings::base_shim_alloc_sleepers(name.as_char_ptr()) };
        // INVARIANT: As just made.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Where to put works.
    pub(crate) fn queue(&self) -> &Queue {
        // SAFETY: By the type's invariants it exists as long as the reference.
        unsafe { Queue::from_raw(self.0.as_ptr().cast()) }
    }

    /// Waits for all works that were put in before. Must not be called by one of them.
    pub(crate) fn flush(&self) {
        // SAFETY: By the type's invariants.
        unsafe { bindings::base_shim_flush_workqueue(self.0.as_ptr()) };
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nobody puts works in any more.
        unsafe { kernel_bindings::destroy_workqueue(self.0.as_ptr().cast()) };
    }
}
