// SPDX-License-Identifier: GPL-2.0

//! References to devices.

use crate::verbs::bindings;
use core::ptr::NonNull;

/// A counted reference to a device of any driver, registered or not.
///
/// # Invariants
///
/// `raw` is valid, and this owns one reference to its `struct device`.
pub(super) struct DeviceRef {
    raw: NonNull<bindings::ib_device>,
}

// SAFETY: References may be dropped from any thread.
unsafe impl Send for DeviceRef {}
// SAFETY: Shared access can only take more references and give the pointer out.
unsafe impl Sync for DeviceRef {}

impl DeviceRef {
    /// Takes a reference.
    ///
    /// # Safety
    ///
    /// `raw` must be valid during this call.
    pub(super) unsafe fn new(raw: NonNull<bindings::ib_device>) -> Self {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::rdma_shim_get_device(raw.as_ptr()) };
        // INVARIANT: The reference has just been taken.
        Self { raw }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::ib_device {
        self.raw.as_ptr()
    }
}

impl Clone for DeviceRef {
    fn clone(&self) -> Self {
        // SAFETY: By the type's invariants.
        unsafe { Self::new(self.raw) }
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants. The device is not touched afterwards.
        unsafe { bindings::rdma_shim_put_device(self.raw.as_ptr()) };
    }
}
