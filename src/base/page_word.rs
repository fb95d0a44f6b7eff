// SPDX-License-Identifier: GPL-2.0

//! One aligned word of a page, for atomic operations.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::sync::atomic::Atomic;

use crate::transport::opcode::WORD;

/// Gives `f` the word that begins at byte `offset` of `page`; nothing if it is not aligned, or not in the page.
///
/// The page may belong to a process, and be changed by it and by others at any time. Instructions that are atomic exclude all
/// who use such instructions too, on whatever processor.
///
/// # Safety
///
/// The page must stay allocated until this returns.
pub(crate) unsafe fn with_word<R>(
    page: NonNull<bindings::page>,
    offset: usize,
    f: impl FnOnce(&Atomic<u64>) -> R,
) -> Option<R> {
    let word = WORD as usize;
    if offset % word != 0 || offset >= PAGE_SIZE {
        return None;
    }
    // SAFETY: The caller promises that the page is alive.
    let mapped = unsafe { bindings::kmap_local_page(page.as_ptr()) };
    let at = mapped.cast::<u8>().wrapping_add(offset).cast::<u64>();
    // SAFETY: `at` is aligned, as pages are, and in the page, which is mapped until `f` has returned. The kernel accesses the
    // word through no other reference; what a process does to it can change its value, and nothing else.
    let result = f(unsafe { Atomic::from_ptr(at) });
    // SAFETY: This undoes the mapping above.
    unsafe { bindings::kunmap_local(mapped) };
    Some(result)
}
