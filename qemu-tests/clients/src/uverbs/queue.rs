// SPDX-License-Identifier: GPL-2.0

//! A queue as rxe's ABI maps it.

use std::sync::atomic::Ordering;

use super::Mapping;

/// Byte offset of the geometry: `log2_elem_size`, `index_mask`.
const GEOMETRY: usize = 0;
/// Byte offset of the producer's index.
const PRODUCER: usize = 128;
/// Byte offset of the consumer's index.
const CONSUMER: usize = 256;
/// Byte offset of the first slot.
const DATA: usize = 384;

/// `struct mminfo`: where to map a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapInfo {
    /// Offset in the node.
    pub offset: u64,
    /// Bytes.
    pub size: u32,
}

/// A mapped queue.
pub struct Queue {
    mapping: Mapping,
    element: usize,
    mask: u32,
}

impl Queue {
    /// Maps a queue of the node with descriptor `fd`.
    pub fn map(fd: i32, info: MmapInfo) -> nix::Result<Self> {
        let mapping = Mapping::of_file(fd, info.size as usize, info.offset)?;
        let log2 = mapping.word(GEOMETRY).load(Ordering::Relaxed);
        let mask = mapping.word(GEOMETRY + 4).load(Ordering::Relaxed);
        Ok(Self {
            mapping,
            element: 1usize << (log2 & 31),
            mask,
        })
    }

    /// All of it.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Bytes of a slot.
    pub fn element(&self) -> usize {
        self.element
    }

    /// Puts an element in and gives whether there was room. Only what the caller knows keeps others from doing the
    /// same at the same time.
    pub fn produce(&self, words: &[u32]) -> bool {
        let producer = self.mapping.word(PRODUCER);
        let at = producer.load(Ordering::Relaxed) & self.mask;
        let next = at.wrapping_add(1) & self.mask;
        if next == self.mapping.word(CONSUMER).load(Ordering::Acquire) & self.mask {
            return false;
        }
        let offset = DATA + at as usize * self.element;
        let room = self.element / size_of::<u32>();
        self.mapping.store(offset, &words[..words.len().min(room)]);
        producer.store(next, Ordering::Release);
        true
    }

    /// Takes all elements out and gives how many there were, and how many had a status other than 0, as completions
    /// have it.
    pub fn consume(&self) -> (u32, u32) {
        /// Byte offset of the status in `struct ib_uverbs_wc`.
        const STATUS: usize = 8;
        let producer = self.mapping.word(PRODUCER).load(Ordering::Acquire) & self.mask;
        let consumer = self.mapping.word(CONSUMER).load(Ordering::Relaxed) & self.mask;
        let count = producer.wrapping_sub(consumer) & self.mask;
        let failed = (0..count)
            .filter(|index| {
                let slot = consumer.wrapping_add(*index) & self.mask;
                let at = DATA + slot as usize * self.element + STATUS;
                at + 4 <= self.mapping.len() && self.mapping.word(at).load(Ordering::Relaxed) != 0
            })
            .count();
        self.mapping
            .word(CONSUMER)
            .store(producer, Ordering::Release);
        (count, failed as u32)
    }

    /// Sets the producer's index to anything.
    pub fn set_producer(&self, value: u32) {
        self.mapping.word(PRODUCER).store(value, Ordering::Release);
    }

    /// Sets the consumer's index to anything.
    pub fn set_consumer(&self, value: u32) {
        self.mapping.word(CONSUMER).store(value, Ordering::Release);
    }
}
