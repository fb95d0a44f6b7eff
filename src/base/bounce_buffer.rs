// SPDX-License-Identifier: GPL-2.0

//! Memory of a rail's own: frames that arrive are gathered in it; of those that go out, it has headers, padding and the
//! payloads that do not stay where they are.

use core::ops::Range;
use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

use crate::base::page_vec::PageVec;

/// A buffer that is contiguous for us and a list of pages for the stream.
///
/// # Invariants
///
/// `bytes` is page-aligned memory of `vmalloc()`, and a multiple of pages long.
pub struct BounceBuffer {
    bytes: VVec<u8>,
}

impl BounceBuffer {
    /// Allocates at least `len` bytes, all zero.
    pub fn new(len: usize) -> Result<Self> {
        let len = len.next_multiple_of(PAGE_SIZE);
        // INVARIANT: `vmalloc()` returns whole pages.
        Ok(Self {
            bytes: VVec::from_elem(0, len, GFP_KERNEL)?,
        })
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The contents.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Appends the pages of `range` to `list`. Fails when the range is not within the buffer, or as
    /// [`PageVec::push`] does.
    ///
    /// # Safety
    ///
    /// The buffer must outlive the use of `list`. While `list` is written to the stream, nothing may change the range.
    pub unsafe fn push_to(&self, range: Range<usize>, list: &mut PageVec) -> Result {
        let bytes = self.bytes.get(range).ok_or(EINVAL)?;
        let mut at = bytes.as_ptr();
        let mut left = bytes.len();
        while left > 0 {
            let offset = at as usize % PAGE_SIZE;
            let len = left.min(PAGE_SIZE - offset);
            // SAFETY: `at` lies in memory of `vmalloc()`.
            let page = NonNull::new(unsafe { bindings::vmalloc_to_page(at.cast()) });
            // SAFETY: The span lies in one page, which belongs to the buffer; the caller promises that it
            // stays.
            unsafe { list.push(page.ok_or(EFAULT)?, offset, len)? };
            at = at.wrapping_add(len);
            left -= len;
        }
        Ok(())
    }
}
