// SPDX-License-Identifier: GPL-2.0

//! Memory that a stream is read into, parts of which others may go on to use.
//!
//! What has been read is normally copied to where it belongs, and the memory used again. Who wants to have a long part without a
//! copy takes references on its pages instead; then the buffer goes on in other memory.

use core::ops::Range;
use core::ptr::NonNull;

use kernel::prelude::*;

use crate::base::bindings;
use crate::transport::frame;

/// The longest frame.
const FRAME: usize = frame::HEADER_LEN + frame::MAX_PAYLOAD as usize;

/// How many frames of any length there is room for: what has arrived behind a frame that is not whole yet is read along with it.
const FRAMES: usize = 3;

/// That. It stays in a processor's cache, and full frames of one message need no moving about.
pub const BUFFER_LEN: usize = FRAMES * FRAME;

/// What a part of the buffer that is kept stands for, in bytes, as long as parts are not shorter than half of it: mostly there are
/// [`FRAMES`] of them, and the kernel gives pages in a row by powers of two.
pub const SHARE: usize = BUFFER_LEN.next_power_of_two() / FRAMES;

/// Memory of [`BUFFER_LEN`] bytes: pages in a row with one counter of references, or, if there were none, of `vmalloc()`.
///
/// # Invariants
///
/// `start` came from `base_shim_block_alloc()` or `base_shim_block_valloc()`, with [`BUFFER_LEN`], and we own a reference.
struct Block {
    start: NonNull<u8>,
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for Block {}

impl Block {
    /// Allocates pages in a row, if that can be done without ado.
    fn lendable() -> Option<Self> {
        // SAFETY: The function has no demands.
        let start = unsafe { bindings::base_shim_block_alloc(BUFFER_LEN) };
        // INVARIANT: It was allocated just now.
        NonNull::new(start.cast()).map(|start| Self { start })
    }

    /// Allocates memory of `vmalloc()`. Sleeps.
    fn scattered() -> Option<Self> {
        // SAFETY: The caller is a thread that may sleep.
        let start = unsafe { bindings::base_shim_block_valloc(BUFFER_LEN) };
        // INVARIANT: It was allocated just now.
        NonNull::new(start.cast()).map(|start| Self { start })
    }

    /// Whether others may take references.
    fn is_lendable(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { bindings::base_shim_block_is_lendable(self.start.as_ptr().cast()) }
    }

    /// Whether others have references.
    fn is_lent(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { bindings::base_shim_block_is_lent(self.start.as_ptr().cast()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants we own the reference, and give it up.
        unsafe { bindings::base_shim_block_put(self.start.as_ptr().cast()) };
    }
}

/// A part of what has been read.
#[derive(Clone, Copy)]
pub struct Arrived<'a> {
    bytes: &'a [u8],
    may_be_kept: bool,
}

impl<'a> Arrived<'a> {
    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the bytes lie in pages (of one folio, mapped for good) of which references may be taken until the next call for
    /// room in the buffer. As long as there are any, the bytes stay as they are, and whoever has them may change them.
    pub fn may_be_kept(&self) -> bool {
        self.may_be_kept
    }
}

/// The buffer.
///
/// # Invariants
///
/// - Others have references only to parts of `block` that end at `settled` or before; these are not written to.
/// - `spare` is lendable. Without it `settled` is 0.
pub struct LendingBuffer {
    block: Block,
    /// What replaces the block when parts of it are kept. Without it there is no lending.
    spare: Option<Block>,
    settled: usize,
}

impl LendingBuffer {
    /// Allocates the memory. Sleeps.
    pub fn new() -> Result<Self> {
        let block = Block::lendable().or_else(Block::scattered).ok_or(ENOMEM)?;
        // INVARIANT: Nobody else knows the block.
        Ok(Self {
            block,
            spare: Block::lendable(),
            settled: 0,
        })
    }

    /// What has been read to `range`.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        let len = range.len();
        assert!(self.settled <= range.start && range.start <= range.end && range.end <= BUFFER_LEN);
        // SAFETY: The range is within the block, whose bytes may have any value, and by the type's invariants nobody else has it.
        unsafe { core::slice::from_raw_parts(self.block.start.as_ptr().add(range.start), len) }
    }

    /// What has been read to `range`, for somebody who may want to keep it.
    pub fn lend(&mut self, range: Range<usize>) -> Arrived<'_> {
        let may_be_kept = self.spare.is_some() && self.block.is_lendable();
        let (start, len) = (range.start, range.len());
        assert!(self.settled <= start && start <= range.end && range.end <= BUFFER_LEN);
        if may_be_kept {
            // INVARIANT: No references are taken to what is behind.
            self.settled = range.end;
        }
        Arrived {
            // SAFETY: The range is within the block, whose bytes may have any value. Nobody has had it so far, and the borrow ends before
            // whoever keeps it may change it.
            bytes: unsafe {
                core::slice::from_raw_parts(self.block.start.as_ptr().add(start), len)
            },
            may_be_kept,
        }
    }

    /// Whether what is read next had better lie at `from`, behind what others have kept, than at the beginning of other memory.
    pub fn goes_on_at(&self, from: usize) -> bool {
        self.settled > 0 && from + FRAME <= BUFFER_LEN && self.block.is_lent()
    }

    /// Moves what has been read to `keep` to the beginning. Sleeps.
    pub fn move_to_front(&mut self, keep: Range<usize>) {
        assert!(self.settled <= keep.start && keep.start <= keep.end && keep.end <= BUFFER_LEN);
        let len = keep.len();
        let from = self.block.start.as_ptr().wrapping_add(keep.start);
        let is_lent = self.settled > 0 && self.block.is_lent();
        match self.spare.take() {
            Some(other) if is_lent || !self.block.is_lendable() => {
                // SAFETY: Both ranges lie in their blocks; the new one is nobody else's.
                unsafe { core::ptr::copy_nonoverlapping(from, other.start.as_ptr(), len) };
                self.block = other;
            }
            spare => {
                self.spare = spare;
                // SAFETY: Both ranges lie in the block. Nobody else has a part of it: without a spare nothing was lent.
                unsafe { core::ptr::copy(from, self.block.start.as_ptr(), len) };
            }
        }
        // INVARIANT: Nobody else has a part of the block that is used now.
        self.settled = 0;
        self.spare = self.spare.take().or_else(Block::lendable);
    }

    /// Room for what is read next, from byte `from` on, which lies behind all that has been lent since the last call of
    /// [`LendingBuffer::move_to_front`].
    pub fn room(&mut self, from: usize) -> &mut [u8] {
        assert!(self.settled <= from && from <= BUFFER_LEN);
        // SAFETY: The range is within the block, whose bytes may have any value, and by the type's invariants nobody else has
        // it.
        unsafe {
            core::slice::from_raw_parts_mut(self.block.start.as_ptr().add(from), BUFFER_LEN - from)
        }
    }
}
