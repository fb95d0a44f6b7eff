// SPDX-License-Identifier: GPL-2.0

//! References to network interfaces.

use crate::verbs::bindings;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

/// A counted reference to a network interface.
///
/// # Invariants
///
/// `raw` is valid, and this owns one reference to it.
pub struct NetDeviceRef {
    raw: NonNull<bindings::net_device>,
}

// SAFETY: References may be dropped from any thread.
unsafe impl Send for NetDeviceRef {}
// SAFETY: Shared access can only take more references.
unsafe impl Sync for NetDeviceRef {}

impl NetDeviceRef {
    /// Takes a reference.
    ///
    /// # Safety
    ///
    /// `raw` must be valid during this call.
    pub unsafe fn from_raw(raw: NonNull<bindings::net_device>) -> Self {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::rdma_shim_dev_hold(raw.as_ptr()) };
        // INVARIANT: The reference has just been taken.
        Self { raw }
    }

    /// Gives the reference away.
    pub(super) fn into_raw(self) -> *mut bindings::net_device {
        ManuallyDrop::new(self).raw.as_ptr()
    }
}

impl Clone for NetDeviceRef {
    fn clone(&self) -> Self {
        // SAFETY: By the type's invariants.
        unsafe { Self::from_raw(self.raw) }
    }
}

impl Drop for NetDeviceRef {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { bindings::rdma_shim_dev_put(self.raw.as_ptr()) };
    }
}
