// SPDX-License-Identifier: GPL-2.0

//! Threads of the module's own for works that the kernel's common queues do not suit.

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
pub(crate) struct Workers(NonNull<bindings::workqueue_struct>);

// SAFETY: A work queue may be used, and destroyed, by any thread.
unsafe impl Send for Workers {}
// SAFETY: As above.
unsafe impl Sync for Workers {}

impl Workers {
    /// For works that may sleep for as long as others like. The kernel's own queues run a bounded number of works at a
    /// time, for everybody: those that sleep without end would in the end stop all. Fails with `ENOMEM`.
    pub(crate) fn sleepy(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        Self::own(unsafe { bindings::base_shim_alloc_sleepers(name.as_char_ptr()) })
    }

    /// For works without which memory may not get free: a dirty page of a file that is on another host's disk has to be sent there
    /// first. One thread is there already for when there is no memory for more (`WQ_MEM_RECLAIM`). So the works may wait neither
    /// for memory nor for works of other queues. Fails with `ENOMEM`.
    pub(crate) fn reserved(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        Self::own(unsafe { bindings::base_shim_alloc_reserved_workers(name.as_char_ptr()) })
    }

    fn own(queue: *mut bindings::workqueue_struct) -> Result<Self> {
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

impl Drop for Workers {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nobody puts works in any more.
        unsafe { kernel_bindings::destroy_workqueue(self.0.as_ptr().cast()) };
    }
}
