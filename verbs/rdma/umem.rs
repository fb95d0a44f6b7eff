// SPDX-License-Identifier: GPL-2.0

//! Memory of a process that a device may access.

use super::{
    access::AccessFlags,
    device::Device,
    device_ref::DeviceRef,
    driver::Driver, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

/// Pinned pages of a process. Dropping it releases them, and may sleep.
///
/// # Invariants
///
/// `raw` is from `ib_umem_get_va()` and is released only when this is dropped; until then its table
/// of pages does not change, and `device` keeps the device that `raw` refers to valid.
pub struct Umem {
    raw: NonNull<bindings::ib_umem>,
    _device: DeviceRef,
}

// SAFETY: The pages may be released from any thread.
unsafe impl Send for Umem {}
// SAFETY: Shared access only reads what does not change.
unsafe impl Sync for Umem {}

impl Umem {
    /// Pins `length` bytes at `start` in the calling process. They become writable if `access` has
    /// any right to write.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `ENOMEM` (also for `RLIMIT_MEMLOCK`), `EPERM`, `EFAULT`.
    pub fn pin<D: Driver>(
        device: &Device<D>,
        start: u64,
        length: u64,
        access: AccessFlags,
    ) -> Result<Self> {
        // SAFETY: The device is registered; everything else is checked by the function.
        let raw = from_err_ptr(unsafe {
            bindings::rdma_shim_ib_umem_get_va(
                device.as_raw(),
                start.try_into()?,
                length.try_into()?,
                access.into_raw(),
            )
        })?;

        // INVARIANT: As just got.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            _device: device.reference(),
        })
    }

    /// Checks whether the pages may be accessed by `access` as they are pinned.
    ///
    /// # Errors
    ///
    /// `EPERM` when they are not writable and have to be.
    pub fn check_access(&self, access: AccessFlags) -> Result {
        // SAFETY: `raw` is valid by the type's invariants.
        to_result(unsafe {
            bindings::ib_umem_check_rereg(
                self.raw.as_ptr(),
                bindings::ib_mr_rereg_flags_IB_MR_REREG_ACCESS as kernel::ffi::c_int,
                access.into_raw(),
            )
        })
    }

    /// Offset of the first byte in the first page.
    pub fn offset(&self) -> usize {
        // SAFETY: By the type's invariants.
        unsafe { (*self.raw.as_ptr()).address % PAGE_SIZE }
    }

    /// Number of bytes.
    pub fn length(&self) -> usize {
        // SAFETY: By the type's invariants.
        unsafe { (*self.raw.as_ptr()).length }
    }

    /// Number of pages.
    pub fn page_count(&self) -> usize {
        (self.offset() + self.length()).div_ceil(PAGE_SIZE)
    }

    /// The pages in order.
    pub fn pages(&self) -> Pages<'_> {
        // SAFETY: By the type's invariants.
        let table = unsafe { &(*self.raw.as_ptr()).sgt_append.sgt };

        Pages {
            entry: table.sgl,
            entries_left: table.orig_nents,
            page: 0,
            _umem: PhantomData,
        }
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nobody uses the pages through this any more.
        unsafe { bindings::ib_umem_release(self.raw.as_ptr()) };
    }
}

/// The pages of an [`Umem`] in order.
///
/// # Invariants
///
/// `entry` is valid when `entries_left` is not zero, and heads as many entries.
pub struct Pages<'a> {
    entry: *mut bindings::scatterlist,
    entries_left: u32,
    // Pages of `entry` that have been given out.
    page: usize,
    _umem: PhantomData<&'a Umem>,
}

impl Iterator for Pages<'_> {
    type Item = NonNull<kernel::bindings::page>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.entries_left == 0 {
                return None;
            }
            // SAFETY: By the type's invariants. Pinned memory makes entries of whole pages, and the
            // index is less than the entry's number of pages where the page is looked up.
            unsafe {
                if self.page < ((*self.entry).length as usize).div_ceil(PAGE_SIZE) {
                    let page = bindings::rdma_shim_sg_nth_page(self.entry, self.page);

                    self.page += 1;
                    return NonNull::new(page.cast());
                }
                self.entry = bindings::rdma_shim_sg_next(self.entry);
            }
            // INVARIANT: The entry was not the last one, or there are none left now.
            self.entries_left -= 1;
            self.page = 0;
        }
    }
}
