// SPDX-License-Identifier: GPL-2.0

//! Layout of a mapped queue: `struct rxe_queue_buf`.
//!
//! A header of three 128-byte parts (geometry, producer index, consumer index) is followed by a
//! power-of-two number of slots of a power-of-two size. Indices lie in `0..slots`; one slot stays
//! empty so that full and empty differ. The indices in the header belong to whoever can write to
//! the mapping, which includes the process: masking them is what keeps accesses inside.

/// Byte offset of `log2_elem_size`.
pub const LOG2_ELEMENT_SIZE_OFFSET: usize = 0;
/// Byte offset of `index_mask`.
pub const INDEX_MASK_OFFSET: usize = 4;
/// Byte offset of `producer_index`.
pub const PRODUCER_OFFSET: usize = 128;
/// Byte offset of `consumer_index`.
pub const CONSUMER_OFFSET: usize = 256;
/// Byte offset of the first slot.
pub const DATA_OFFSET: usize = 384;

/// Bytes of the smallest slot: the provider expects at least a cache line.
pub const MIN_ELEMENT_SIZE: usize = 64;

/// Position of a slot, always below the number of slots of the layout that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotIndex(u32);

impl SlotIndex {
    /// The first slot, where every queue starts.
    pub const FIRST: Self = Self(0);

    /// The number as it is stored in the header.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Sizes of one queue; fixed when it is made.
///
/// # Invariants
///
/// `index_mask + 1` is a power of two, and the whole queue is smaller than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLayout {
    log2_element_size: u32,
    index_mask: u32,
}

impl QueueLayout {
    /// A layout with room for `capacity` elements of `element_size` bytes each, or `None` when the
    /// queue's size would not fit the 32 bits the ABI has for it.
    pub fn new(capacity: u32, element_size: usize) -> Option<Self> {
        let element_size = element_size
            .max(MIN_ELEMENT_SIZE)
            .checked_next_power_of_two()?;
        let slots = capacity.checked_add(1)?.checked_next_power_of_two()?;
        let data = u64::from(slots).checked_mul(element_size as u64)?;
        u32::try_from(data + DATA_OFFSET as u64).ok()?;
        // INVARIANT: `slots` is a power of two, the size was checked just above.
        Some(Self {
            log2_element_size: element_size.trailing_zeros(),
            index_mask: slots - 1,
        })
    }

    /// `log2_elem_size` of the header.
    pub fn log2_element_size(&self) -> u32 {
        self.log2_element_size
    }

    /// `index_mask` of the header.
    pub fn index_mask(&self) -> u32 {
        self.index_mask
    }

    /// Bytes of one slot.
    pub fn element_size(&self) -> usize {
        1 << self.log2_element_size
    }

    /// How many elements the queue can hold: one less than it has slots.
    pub fn capacity(&self) -> u32 {
        self.index_mask
    }

    /// Bytes of the whole queue, header included.
    pub fn size(&self) -> usize {
        DATA_OFFSET + ((self.index_mask as usize + 1) << self.log2_element_size)
    }

    /// The slot a raw index from the header stands for. Any number is accepted.
    pub fn slot(&self, raw: u32) -> SlotIndex {
        SlotIndex(raw & self.index_mask)
    }

    /// The slot after `index`.
    pub fn next(&self, index: SlotIndex) -> SlotIndex {
        self.slot(index.0.wrapping_add(1))
    }

    /// Elements between the two indices.
    pub fn used(&self, producer: SlotIndex, consumer: SlotIndex) -> u32 {
        producer.0.wrapping_sub(consumer.0) & self.index_mask
    }

    /// Whether no element can be added.
    pub fn is_full(&self, producer: SlotIndex, consumer: SlotIndex) -> bool {
        self.next(producer) == consumer
    }

    /// Byte offset of a slot from the start of the queue.
    pub fn offset(&self, index: SlotIndex) -> usize {
        // The index may come from another, larger layout (before a resize): mask again.
        DATA_OFFSET + (((index.0 & self.index_mask) as usize) << self.log2_element_size)
    }
}
