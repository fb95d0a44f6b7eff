// SPDX-License-Identifier: GPL-2.0

//! Queues that a process and the kernel share: send, receive and completion rings.
//!
//! Everything in them can change at any time. The kernel keeps its own indices privately, masks what
//! it reads from the other side, and copies each element out (or in) exactly once.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::Acquire;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Release;
use kernel::sync::Arc;

use crate::verbs::abi::queue_layout::QueueLayout;
use crate::verbs::abi::queue_layout::SlotIndex;
use crate::verbs::abi::queue_layout::CONSUMER_OFFSET;
use crate::verbs::abi::queue_layout::INDEX_MASK_OFFSET;
use crate::verbs::abi::queue_layout::LOG2_ELEMENT_SIZE_OFFSET;
use crate::verbs::abi::queue_layout::PRODUCER_OFFSET;
use crate::verbs::rdma::MmapBuffer;

/// The shared memory of one queue.
///
/// # Invariants
///
/// `memory` has at least `layout.size()` bytes.
#[derive(Clone)]
struct Ring {
    layout: QueueLayout,
    memory: Arc<MmapBuffer>,
}

impl Ring {
    fn new(capacity: u32, element_size: usize) -> Result<Self> {
        let layout = QueueLayout::new(capacity, element_size).ok_or(EINVAL)?;
        let memory = MmapBuffer::new(layout.size())?;
        // INVARIANT: Just allocated with that size.
        let ring = Self { layout, memory };
        ring.word(LOG2_ELEMENT_SIZE_OFFSET)
            .store(layout.log2_element_size(), Release);
        ring.word(INDEX_MASK_OFFSET)
            .store(layout.index_mask(), Release);
        Ok(ring)
    }

    /// A word of the header.
    fn word(&self, offset: usize) -> &Atomic<u32> {
        let at = self.address(offset, size_of::<u32>());
        // SAFETY: The word lies in the buffer, which lives as long as `self`, and is aligned. The
        // kernel accesses it atomically only; the process may do what it wants, which can change
        // the value but nothing else.
        unsafe { Atomic::from_ptr(at.cast().as_ptr()) }
    }

    /// The address of `len` bytes at `offset`, which must lie in the buffer.
    fn address(&self, offset: usize, len: usize) -> NonNull<u8> {
        debug_assert!(offset + len <= self.layout.size());
        // SAFETY: By the type's invariant the offset is in the buffer.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    /// Copies `into.len()` bytes from `skip` bytes into a slot. Bytes beyond the slot stay as they
    /// are.
    fn read(&self, slot: SlotIndex, skip: usize, into: &mut [u8]) {
        let len = into
            .len()
            .min(self.layout.element_size().saturating_sub(skip));
        if len == 0 {
            return;
        }
        let from = self.address(self.layout.offset(slot) + skip, len);
        // SAFETY: `from` is readable for `len` bytes and `into` writable; they do not overlap, since
        // nobody makes references into the buffer. The C function tolerates concurrent writes.
        unsafe { bindings::memcpy(into.as_mut_ptr().cast(), from.as_ptr().cast(), len) };
    }

    /// Overwrites bytes of a slot, from `skip` on. What does not fit is left out.
    fn write(&self, slot: SlotIndex, skip: usize, bytes: &[u8]) {
        let room = self.layout.element_size().saturating_sub(skip);
        let len = bytes.len().min(room);
        if len == 0 {
            return;
        }
        let to = self.address(self.layout.offset(slot) + skip, len);
        // SAFETY: As in `read`, the other way round.
        unsafe { bindings::memcpy(to.as_ptr().cast(), bytes.as_ptr().cast(), len) };
    }

    /// Overwrites a slot with one of another queue, as far as both reach.
    fn copy(&self, slot: SlotIndex, from: &Self, from_slot: SlotIndex) {
        let len = self.layout.element_size().min(from.layout.element_size());
        let to = self.address(self.layout.offset(slot), len);
        let from = from.address(from.layout.offset(from_slot), len);
        // SAFETY: Both are valid for `len` bytes; two queues do not overlap. The C function tolerates
        // concurrent writes.
        unsafe { bindings::memcpy(to.as_ptr().cast(), from.as_ptr().cast(), len) };
    }
}

/// Elements that are copied from queue to queue in one go: whoever has the queues locked keeps others waiting
/// for so long.
const TRANSFER_STEP: u32 = 64;

/// How far the elements of a queue have been copied into another one.
pub(crate) struct Transfer {
    /// The first element there was.
    first: SlotIndex,
    /// The next one to be copied.
    next: SlotIndex,
    /// Copied so far.
    copied: u32,
}

impl Transfer {
    fn new(first: SlotIndex) -> Self {
        Self {
            first,
            next: first,
            copied: 0,
        }
    }

    /// Copies elements of `from` before `end`, but not too many.
    ///
    /// Fails with `EINVAL` when there are more than fit.
    fn advance(&mut self, from: &Ring, end: SlotIndex, to: &Ring) -> Result<Remainder> {
        for _ in 0..TRANSFER_STEP {
            if self.next == end {
                return Ok(Remainder::Nothing);
            }
            if self.copied == to.layout.capacity() {
                return Err(EINVAL);
            }
            to.copy(to.layout.slot(self.copied), from, self.next);
            self.next = from.layout.next(self.next);
            self.copied += 1;
        }
        Ok(Remainder::More)
    }
}

/// Whether something is left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Remainder {
    /// Nothing is left.
    Nothing,
    /// Something may be left.
    More,
}

/// A queue the process fills: send, receive, shared receive.
///
/// Elements are *taken* in order, and their slots *released* in order, which is when the process may
/// use them again.
pub(crate) struct WorkQueue {
    ring: Ring,
    next: SlotIndex,
    released: SlotIndex,
}

/// An element that was taken.
#[derive(Clone, Copy)]
pub(crate) struct Taken(SlotIndex);

impl WorkQueue {
    /// A queue for `capacity` elements of at most `element_size` bytes.
    pub(crate) fn new(capacity: u32, element_size: usize) -> Result<Self> {
        Ok(Self {
            ring: Ring::new(capacity, element_size)?,
            next: SlotIndex::FIRST,
            released: SlotIndex::FIRST,
        })
    }

    /// The memory, to be mapped by the process.
    pub(crate) fn memory(&self) -> Arc<MmapBuffer> {
        self.ring.memory.clone()
    }

    /// How many elements fit.
    pub(crate) fn capacity(&self) -> u32 {
        self.ring.layout.capacity()
    }

    /// What adds elements, for a queue that no process is offered.
    pub(crate) fn producer_side(&self) -> WorkProducer {
        WorkProducer {
            ring: self.ring.clone(),
            next: self.producer(),
        }
    }

    /// Takes the next element, if the process has added one.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let producer = self.producer();
        // The process may only fill slots that were released: what it claims beyond is ignored, so
        // that no more elements are outstanding than there are slots.
        let after = self.ring.layout.next(self.next);
        if producer == self.next || after == self.released {
            return None;
        }
        let taken = Taken(self.next);
        self.next = after;
        Some(taken)
    }

    /// Elements added and not yet taken.
    pub(crate) fn waiting(&self) -> u32 {
        self.ring.layout.used(self.producer(), self.next)
    }

    /// Copies bytes of an element, from `skip` on.
    pub(crate) fn read(&self, element: Taken, skip: usize, into: &mut [u8]) {
        self.ring.read(element.0, skip, into);
    }

    /// Overwrites bytes of an element, from `skip` on, which is to be read no more.
    pub(crate) fn write(&self, element: Taken, skip: usize, bytes: &[u8]) {
        self.ring.write(element.0, skip, bytes);
    }

    /// Overwrites bytes of all slots, from `skip` on.
    pub(crate) fn write_all(&self, skip: usize, bytes: &[u8]) {
        for index in 0..=self.ring.layout.index_mask() {
            self.ring.write(self.ring.layout.slot(index), skip, bytes);
        }
    }

    /// Gives the slot of the oldest element taken back to the process.
    pub(crate) fn release(&mut self) {
        if self.released == self.next {
            return;
        }
        self.released = self.ring.layout.next(self.released);
        self.store_consumer(self.released);
    }

    /// Drops everything that is in the queue.
    pub(crate) fn discard(&mut self) {
        self.next = self.producer();
        self.released = self.next;
        self.store_consumer(self.released);
    }

    /// Begins to have another queue take over what this one holds.
    pub(crate) fn transfer(&self) -> Transfer {
        Transfer::new(self.next)
    }

    /// Has this new queue take over some more of what `old` holds, in order; it may be used when nothing
    /// remains. Meanwhile elements may be taken from `old`, and are released at once. The process must not add
    /// any.
    ///
    /// Fails with `EINVAL` when there is more than fits.
    pub(crate) fn take_over(&mut self, old: &Self, transfer: &mut Transfer) -> Result<Remainder> {
        let remainder = transfer.advance(&old.ring, old.producer(), &self.ring)?;
        if remainder == Remainder::Nothing {
            // What has been taken meanwhile is not there any more.
            let taken = old.ring.layout.used(old.next, transfer.first);
            self.next = self.ring.layout.slot(taken.min(transfer.copied));
            self.released = self.next;
            self.store_consumer(self.released);
            self.ring
                .word(PRODUCER_OFFSET)
                .store(transfer.copied, Release);
        }
        Ok(remainder)
    }

    fn producer(&self) -> SlotIndex {
        let raw = self.ring.word(PRODUCER_OFFSET).load(Acquire);
        self.ring.layout.slot(raw)
    }

    fn store_consumer(&self, index: SlotIndex) {
        self.ring.word(CONSUMER_OFFSET).store(index.get(), Release);
    }
}

/// There is no room in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Adds elements to a [`WorkQueue`], in place of a process.
pub(crate) struct WorkProducer {
    ring: Ring,
    next: SlotIndex,
}

impl WorkProducer {
    /// Adds an element of which `header` is the beginning, and `rest` gives, one after the other, what follows. What does not
    /// fit is left out.
    pub(crate) fn push<'a>(
        &mut self,
        header: &[u8],
        rest: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Full> {
        let consumer = self.ring.word(CONSUMER_OFFSET).load(Acquire);
        if self
            .ring
            .layout
            .is_full(self.next, self.ring.layout.slot(consumer))
        {
            return Err(Full);
        }
        self.ring.write(self.next, 0, header);
        let mut at = header.len();
        for part in rest {
            self.ring.write(self.next, at, part);
            at += part.len();
        }
        self.next = self.ring.layout.next(self.next);
        self.ring
            .word(PRODUCER_OFFSET)
            .store(self.next.get(), Release);
        Ok(())
    }
}

/// The process has not taken completions away fast enough.
pub(crate) struct Overflow;

/// A queue the kernel fills: completions.
pub(crate) struct EventQueue {
    ring: Ring,
    next: SlotIndex,
}

impl EventQueue {
    /// A queue for `capacity` elements of at most `element_size` bytes.
    pub(crate) fn new(capacity: u32, element_size: usize) -> Result<Self> {
        Ok(Self {
            ring: Ring::new(capacity, element_size)?,
            next: SlotIndex::FIRST,
        })
    }

    /// The memory, to be mapped by the process.
    pub(crate) fn memory(&self) -> Arc<MmapBuffer> {
        self.ring.memory.clone()
    }

    /// How many elements fit.
    pub(crate) fn capacity(&self) -> u32 {
        self.ring.layout.capacity()
    }

    /// Whether the process has taken everything away.
    pub(crate) fn is_empty(&self) -> bool {
        self.consumer() == self.next
    }

    /// Adds an element.
    pub(crate) fn push(&mut self, element: &[u8]) -> Result<(), Overflow> {
        if self.ring.layout.is_full(self.next, self.consumer()) {
            return Err(Overflow);
        }
        self.ring.write(self.next, 0, element);
        self.next = self.ring.layout.next(self.next);
        self.ring
            .word(PRODUCER_OFFSET)
            .store(self.next.get(), Release);
        Ok(())
    }

    /// Begins to have another queue take over what this one holds.
    pub(crate) fn transfer(&self) -> Transfer {
        Transfer::new(self.consumer())
    }

    /// Has this new queue take over some more of what `old` holds, in order; it may be used when nothing
    /// remains. Meanwhile elements may be added to `old`. The process must not take any away.
    ///
    /// Fails with `EINVAL` when there is more than fits.
    pub(crate) fn take_over(&mut self, old: &Self, transfer: &mut Transfer) -> Result<Remainder> {
        let remainder = transfer.advance(&old.ring, old.next, &self.ring)?;
        if remainder == Remainder::Nothing {
            self.next = self.ring.layout.slot(transfer.copied);
            self.ring
                .word(PRODUCER_OFFSET)
                .store(self.next.get(), Release);
        }
        Ok(remainder)
    }

    fn consumer(&self) -> SlotIndex {
        let raw = self.ring.word(CONSUMER_OFFSET).load(Acquire);
        self.ring.layout.slot(raw)
    }
}
