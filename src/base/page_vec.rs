// SPDX-License-Identifier: GPL-2.0

//! A fixed-capacity list of page spans: the payload of one segment where it lies.
//!
//! Memory regions fill it, rails hand it to the stream as an `ITER_BVEC`, the loopback path copies
//! from one to another. It neither allocates nor owns the pages.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

use crate::base::bindings as bindings_shim;
use crate::base::checksum::PiecewiseHash;
use crate::transport::checksum::RunningChecksum;
use crate::transport::checksum::Seed;
use crate::transport::frame;

const _: () = assert!(
    usize::BITS == 64,
    "spans of several pages rely on a 64-bit kernel without highmem"
);

/// Most scatter/gather entries one work request may name.
pub const MAX_SGE: usize = 32;

/// Longest payload of one segment in bytes.
pub const MAX_PAYLOAD: usize = frame::MAX_PAYLOAD as usize;

/// How much of the end of a large payload is stored word by word.
const ORDERED_END: usize = 64;

/// Spans a rail adds to those of a segment: a header, padding, or both, across a page's end.
const FRAMING_SPANS: usize = 4;

/// Spans that always suffice for one segment: its pages, plus a partial page at each end of every
/// scatter/gather entry, plus what frames it.
pub const MAX_SPANS: usize = MAX_PAYLOAD.div_ceil(PAGE_SIZE) + 2 * MAX_SGE + FRAMING_SPANS;

/// The pages that hold the payload of one segment, in order.
///
/// # Locking and lifetime
///
/// A `PageVec` belongs to one thread at a time and is reused. The pages it names are kept alive by
/// whoever pushed them (see [`PageVec::push`]), usually a reference on a memory region.
///
/// The bytes may belong to a process that reads and writes them at any time. They are therefore only
/// ever touched by C functions of the kernel, never through Rust references.
///
/// # Invariants
///
/// - The first `count` spans are initialised, not empty, lie within physically contiguous memory that
///   the kernel maps permanently, and are valid until the next [`PageVec::clear`].
/// - `len` is the sum of their lengths.
pub struct PageVec {
    spans: [bindings::bio_vec; MAX_SPANS],
    count: usize,
    len: usize,
}

// SAFETY: The struct holds plain pointers to pages, which no thread owns.
unsafe impl Send for PageVec {}

impl PageVec {
    /// Creates an empty list.
    pub const fn new() -> Self {
        // INVARIANT: No span, no bytes.
        Self {
            spans: [bindings::bio_vec {
                bv_page: core::ptr::null_mut(),
                bv_len: 0,
                bv_offset: 0,
            }; MAX_SPANS],
            count: 0,
            len: 0,
        }
    }

    /// Forgets all spans. Afterwards the pages need not be kept alive any longer.
    pub fn clear(&mut self) {
        self.count = 0;
        self.len = 0;
    }

    /// Bytes in all spans together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a frame with this payload can be added: header, payload and padding.
    pub fn has_room_for_frame(&self, payload: &PageVec) -> bool {
        self.count + payload.count + FRAMING_SPANS <= MAX_SPANS
    }

    /// The spans as the kernel's `struct bio_vec`, for `iov_iter_bvec()`.
    pub fn as_bio_vecs(&self) -> &[bindings::bio_vec] {
        &self.spans[..self.count]
    }

    /// Appends `len` bytes from byte `start` on of what `list` has page by page.
    ///
    /// Fails as [`PageVec::push`] does, and with `EINVAL` when the list ends before; some may have been appended then.
    ///
    /// # Safety
    ///
    /// The pages must be permanently mapped, and stay allocated until [`PageVec::clear`] or until `self` is dropped.
    pub unsafe fn push_from(
        &mut self,
        list: &[NonNull<bindings::page>],
        start: usize,
        len: usize,
    ) -> Result {
        let mut at = start;
        let mut left = len;
        while left > 0 {
            let in_page = at % PAGE_SIZE;
            let part = left.min(PAGE_SIZE - in_page);
            let page = *list.get(at / PAGE_SIZE).ok_or(EINVAL)?;
            // SAFETY: By the requirements of this function; the part lies in one page.
            unsafe { self.push(page, in_page, part) }?;
            at += part;
            left -= part;
        }
        Ok(())
    }

    /// Appends `len` bytes that start `offset` bytes into `page`.
    ///
    /// A span that continues the last one is merged with it; an empty one is ignored. Fails with
    /// `ENOSPC` when all [`MAX_SPANS`] are taken, and with `EINVAL` when the length does not fit a
    /// `bio_vec`.
    ///
    /// # Safety
    ///
    /// `page` and the pages that the span reaches beyond it must be physically contiguous, permanently
    /// mapped, and stay allocated until [`PageVec::clear`] or until `self` is dropped.
    pub unsafe fn push(
        &mut self,
        page: NonNull<bindings::page>,
        offset: usize,
        len: usize,
    ) -> Result {
        if len == 0 {
            return Ok(());
        }
        // Whole pages of the offset go into the page pointer, so that merging sees them.
        let page = page.as_ptr().wrapping_add(offset / PAGE_SIZE);
        let offset = offset % PAGE_SIZE;

        if let Some(last) = self.spans[..self.count].last_mut() {
            let end = last.bv_offset as usize + last.bv_len as usize;
            let merged = u32::try_from(last.bv_len as usize + len);
            if end % PAGE_SIZE == offset && last.bv_page.wrapping_add(end / PAGE_SIZE) == page {
                // INVARIANT: Adjacent `struct page`s describe adjacent memory, so the longer span is
                // contiguous.
                last.bv_len = merged.map_err(|_| EINVAL)?;
                self.len += len;
                return Ok(());
            }
        }

        let span = self.spans.get_mut(self.count).ok_or(ENOSPC)?;
        // INVARIANT: The caller promises that the span is contiguous, mapped and alive.
        *span = bindings::bio_vec {
            bv_page: page,
            bv_len: u32::try_from(len).map_err(|_| EINVAL)?,
            bv_offset: offset as u32,
        };
        self.count += 1;
        self.len += len;
        Ok(())
    }

    /// Appends the spans of `other`. Fails as [`PageVec::push`] does.
    ///
    /// # Safety
    ///
    /// The pages of `other` must stay allocated until [`PageVec::clear`] or until `self` is dropped, even
    /// if `other` is cleared before.
    pub unsafe fn append(&mut self, other: &PageVec) -> Result {
        for span in other.as_bio_vecs() {
            let page = NonNull::new(span.bv_page).ok_or(EINVAL)?;
            // SAFETY: By the type's invariants the span is contiguous and mapped; the caller promises
            // that its pages stay.
            unsafe { self.push(page, span.bv_offset as usize, span.bv_len as usize)? };
        }
        Ok(())
    }

    /// The checksum of all bytes, in the session with this seed.
    ///
    /// A process may change the bytes meanwhile; then the result fits neither the old nor the new
    /// contents.
    pub fn checksum(&self, seed: Seed) -> u32 {
        let mut hash = PiecewiseHash::new(seed);
        self.for_each_chunk(0, self.len, |ptr, len| {
            // SAFETY: `for_each_chunk` passes `len` readable bytes.
            unsafe { hash.update_raw(ptr, len) };
        });
        hash.finish()
    }

    /// Copies `dst.len()` bytes that start at byte `offset` of the list.
    ///
    /// Fails with `EINVAL`, without copying, when the list is shorter than that.
    pub fn copy_to_slice(&self, offset: usize, dst: &mut [u8]) -> Result {
        self.check_range(offset, dst.len())?;
        let mut rest = dst;
        self.for_each_chunk(offset, rest.len(), |ptr, len| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(len);
            // SAFETY: `ptr` is readable for `len` bytes, `head` is writable for as many, and a buffer
            // of the kernel's does not overlap a payload's pages.
            unsafe { bindings::memcpy(head.as_mut_ptr().cast(), ptr.cast(), len) };
            rest = tail;
        });
        Ok(())
    }

    /// Overwrites the first `src.len()` bytes, in address order: processes poll memory for the last bytes of an RDMA WRITE, and
    /// use the rest as soon as they see them. Of what fits one frame of the stream, and of the end of all else, aligned words
    /// become visible at once and one after the other, and each is written once.
    ///
    /// Fails with `EINVAL`, without copying, when the list is shorter than that.
    pub fn copy_from_slice_in_order(&mut self, src: &[u8]) -> Result {
        let in_bulk = src.len() - ordered_end(src.len());
        let (bulk, end) = src.split_at(in_bulk);
        self.check_range(0, src.len())?;
        let mut rest = bulk;
        self.for_each_chunk(0, in_bulk, |ptr, len| {
            let (head, tail) = rest.split_at(len);
            // SAFETY: `ptr` is writable for `len` bytes, `head` is readable for as many, and a buffer
            // of the kernel's does not overlap a payload's pages.
            unsafe { bindings::memcpy(ptr.cast(), head.as_ptr().cast(), len) };
            rest = tail;
        });
        self.store_end(in_bulk, end);
        Ok(())
    }

    /// Copies all bytes of `src`, page to page, to the first bytes of the list: its end, aligned words one after the other and
    /// each once, is visible after all before it, as with [`PageVec::copy_from_slice_in_order`].
    ///
    /// The two may overlap in memory; then the result is as if copied page by page, but for the end, which is read first.
    /// Fails with `EINVAL`, without copying, when the list is too short.
    pub fn copy_from_in_order(&mut self, src: &PageVec) -> Result {
        self.check_range(0, src.len)?;
        let in_bulk = src.len.saturating_sub(ORDERED_END);
        // `memmove` may write the last bytes of a piece first, last, or twice.
        let mut end = [0; ORDERED_END];
        let end = &mut end[..src.len - in_bulk];
        src.copy_to_slice(in_bulk, end)?;
        let mut at = 0;
        src.for_each_chunk(0, in_bulk, |from, len| {
            let mut from = from;
            self.for_each_chunk(at, len, |to, len| {
                // SAFETY: Both sides are mapped for `len` bytes, and `memmove` allows overlap.
                unsafe { bindings::memmove(to.cast(), from.cast(), len) };
                from = from.wrapping_add(len);
            });
            at += len;
        });
        self.store_end(in_bulk, end);
        Ok(())
    }

    /// Stores `end` at byte `offset` of the list, in order and after all that was written before. The range must have been
    /// checked.
    fn store_end(&mut self, offset: usize, end: &[u8]) {
        // SAFETY: A barrier has no demands.
        unsafe { bindings_shim::base_shim_smp_wmb() };
        let mut rest = end;
        self.for_each_chunk(offset, end.len(), |ptr, len| {
            let (head, tail) = rest.split_at(len);
            // SAFETY: `ptr` is writable for `len` bytes.
            unsafe { store_in_order(ptr, head) };
            rest = tail;
        });
    }

    fn check_range(&self, offset: usize, len: usize) -> Result {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Calls `f` with the address and length of each piece of `offset..offset + len`, in order.
    ///
    /// Each piece lies in one page and is mapped, readable and writable, for the time of the call. The
    /// range must have been checked.
    fn for_each_chunk(&self, offset: usize, len: usize, mut f: impl FnMut(*mut u8, usize)) {
        let mut skip = offset;
        let mut left = len;
        for span in self.as_bio_vecs() {
            if left == 0 {
                return;
            }
            let span_len = span.bv_len as usize;
            if skip >= span_len {
                skip -= span_len;
                continue;
            }
            let mut at = span.bv_offset as usize + skip;
            let mut span_left = (span_len - skip).min(left);
            skip = 0;
            left -= span_left;
            while span_left > 0 {
                let in_page = at % PAGE_SIZE;
                let chunk = span_left.min(PAGE_SIZE - in_page);
                let page = span.bv_page.wrapping_add(at / PAGE_SIZE);
                // SAFETY: By the type's invariants the span covers this page, which is alive.
                let mapped = unsafe { bindings::kmap_local_page(page) };
                f(mapped.cast::<u8>().wrapping_add(in_page), chunk);
                // SAFETY: This undoes the mapping above; nested calls undo theirs first.
                unsafe { bindings::kunmap_local(mapped) };
                at += chunk;
                span_left -= chunk;
            }
        }
    }
}

impl Default for PageVec {
    fn default() -> Self {
        Self::new()
    }
}

/// How many bytes at the end of a payload of that length become visible word by word, in order, and after all others: all
/// of what fits one frame of the stream.
pub(crate) const fn ordered_end(len: usize) -> usize {
    if len <= frame::SMALL_PAYLOAD as usize {
        len
    } else {
        ORDERED_END
    }
}

/// Stores `src` at `dst`: single bytes up to the first aligned word, aligned words, single bytes.
///
/// # Safety
///
/// `dst` must be writable for `src.len()` bytes. Other threads and processes may read there meanwhile.
unsafe fn store_in_order(dst: *mut u8, src: &[u8]) {
    const WORD: usize = core::mem::size_of::<u64>();
    let unaligned = dst.align_offset(WORD).min(src.len());
    let (head, rest) = src.split_at(unaligned);
    let mut to = dst;
    for &byte in head {
        // SAFETY: `to` runs through the `src.len()` bytes at `dst`.
        unsafe { to.write_volatile(byte) };
        to = to.wrapping_add(1);
    }
    let mut words = rest.chunks_exact(WORD);
    let last = words.len().wrapping_sub(1);
    for (i, word) in words.by_ref().enumerate() {
        if i == last {
            // Everything before is visible before the last word is.
            // SAFETY: A barrier has no demands.
            unsafe { bindings_shim::base_shim_smp_wmb() };
        }
        let mut value = [0; WORD];
        value.copy_from_slice(word);
        // SAFETY: As above, and `to` is aligned for a word here.
        unsafe { to.cast::<u64>().write_volatile(u64::from_ne_bytes(value)) };
        to = to.wrapping_add(WORD);
    }
    for &byte in words.remainder() {
        // SAFETY: As above.
        unsafe { to.write_volatile(byte) };
        to = to.wrapping_add(1);
    }
}
