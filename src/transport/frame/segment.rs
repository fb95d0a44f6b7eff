// SPDX-License-Identifier: GPL-2.0

//! How messages are cut into segments.

use core::num::NonZeroU32;

use super::size::HEADER_LEN;
use super::size::MAX_PAYLOAD;
use super::size::SMALL_PAYLOAD;
use crate::transport::opcode::MAX_MESSAGE;

/// Payload of all segments of a message but the last: a multiple of 64 that is neither wastefully small nor larger than
/// a frame.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SegmentSize(NonZeroU32);

impl SegmentSize {
    /// Fits one frame of the stream.
    pub const SMALLEST: Self = Self::constant(SMALL_PAYLOAD);

    /// Fits a frame.
    pub const LARGEST: Self = Self::constant(MAX_PAYLOAD);

    /// The size of so many bytes, if there is one: within [`SMALL_PAYLOAD`]..=[`MAX_PAYLOAD`].
    pub const fn new(bytes: u32) -> Option<Self> {
        let is_valid =
            bytes >= SMALL_PAYLOAD && bytes <= MAX_PAYLOAD && bytes % HEADER_LEN as u32 == 0;
        match NonZeroU32::new(bytes) {
            Some(bytes) if is_valid => Some(Self(bytes)),
            _ => None,
        }
    }

    const fn constant(bytes: u32) -> Self {
        match Self::new(bytes) {
            Some(size) => size,
            None => panic!("not a size of segments"),
        }
    }

    /// Bytes of a full segment.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// How many segments a message of this length takes; one if it is empty.
    pub fn segments_of(self, length: u32) -> u32 {
        length.saturating_sub(1) / self.0 + 1
    }
}

impl Default for SegmentSize {
    fn default() -> Self {
        Self::SMALLEST
    }
}

/// The part of a message that a segment carries.
///
/// # Invariants
///
/// `len` is at most [`MAX_PAYLOAD`], `offset + len` at most [`MAX_MESSAGE`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extent {
    offset: u32,
    len: u32,
}

impl Extent {
    /// Bytes `offset..offset + len`, if a segment can carry them.
    pub const fn new(offset: u32, len: u32) -> Option<Self> {
        if len <= MAX_PAYLOAD && offset <= MAX_MESSAGE - len {
            Some(Self { offset, len })
        } else {
            None
        }
    }

    /// What segment `index` of a message carries that is `length` bytes long, at most [`MAX_MESSAGE`].
    pub const fn of_segment(index: u32, size: SegmentSize, length: u32) -> Self {
        let length = if length < MAX_MESSAGE {
            length
        } else {
            MAX_MESSAGE
        };
        let begin = index.saturating_mul(size.get());
        // INVARIANT: within the message, and no longer than a segment.
        if begin >= length {
            return Self {
                offset: length,
                len: 0,
            };
        }
        let rest = length - begin;
        Self {
            offset: begin,
            len: if rest < size.get() { rest } else { size.get() },
        }
    }

    /// Offset of the first byte in the message.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Number of bytes.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset behind the last byte, at most [`MAX_MESSAGE`].
    pub const fn end(&self) -> u32 {
        self.offset.saturating_add(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_s_size_is_a_multiple_of_64_that_fits_a_frame() {
        for bytes in [
            0,
            64,
            SMALL_PAYLOAD - 64,
            SMALL_PAYLOAD + 1,
            MAX_PAYLOAD + 64,
        ] {
            assert_eq!(SegmentSize::new(bytes), None, "{bytes}");
        }
        for bytes in [SMALL_PAYLOAD, SMALL_PAYLOAD + 64, MAX_PAYLOAD] {
            assert_eq!(SegmentSize::new(bytes).map(SegmentSize::get), Some(bytes));
        }
    }

    #[test]
    fn segments_cover_a_message() {
        for size in [SegmentSize::SMALLEST, SegmentSize::LARGEST] {
            let full = size.get();
            for length in [0, 1, full - 1, full, full + 1, 5 * full + 7, MAX_MESSAGE] {
                let count = size.segments_of(length);
                assert!(count > 0);
                for index in [0, count / 2, count - 1] {
                    let extent = Extent::of_segment(index, size, length);
                    let rest = length - index * full;
                    assert_eq!(
                        (extent.offset(), extent.len()),
                        (index * full, rest.min(full))
                    );
                    assert_eq!(Extent::new(extent.offset(), extent.len()), Some(extent));
                }
                assert_eq!(Extent::of_segment(count - 1, size, length).end(), length);
                assert!(Extent::of_segment(count, size, length).is_empty());
            }
        }
    }

    #[test]
    fn a_piece_of_a_message_ends_within_the_longest() {
        assert!(Extent::new(MAX_MESSAGE - 1, 1).is_some());
        assert!(Extent::new(MAX_MESSAGE, 0).is_some());
        assert_eq!(Extent::new(MAX_MESSAGE, 1), None);
        assert_eq!(Extent::new(u32::MAX, 64), None);
        assert_eq!(Extent::new(0, MAX_PAYLOAD + 1), None);
    }
}
