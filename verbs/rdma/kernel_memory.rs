// SPDX-License-Identifier: GPL-2.0

//! Memory of the kernel, as users in the kernel name it.

use crate::verbs::bindings;
use core::ptr::NonNull;
use kernel::{
    bindings as kernel_bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Calls `f` with page, offset and length of each piece of `len` bytes at `address`, in order. Pieces lie in one page.
///
/// # Errors
///
/// As `f`; `EFAULT` where there is no page.
///
/// # Safety
///
/// The bytes must be memory of the kernel, directly mapped or of `vmalloc()`.
pub unsafe fn for_each_page(
    address: u64,
    len: usize,
    mut f: impl FnMut(NonNull<kernel_bindings::page>, usize, usize) -> Result,
) -> Result {
    let mut at = address as usize;
    let mut left = len;
    while left > 0 {
        let offset = at % PAGE_SIZE;
        let part = left.min(PAGE_SIZE - offset);
        // SAFETY: By the requirements of this function.
        let page = unsafe { bindings::rdma_shim_kernel_page(at as *const core::ffi::c_void) };
        f(NonNull::new(page.cast()).ok_or(EFAULT)?, offset, part)?;
        at += part;
        left -= part;
    }
    Ok(())
}
