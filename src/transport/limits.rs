// SPDX-License-Identifier: GPL-2.0

//! What a host can take from its peers, as its hellos say.

use super::frame::SegmentSize;

/// Most entries of a table of READs: `max_rd_atomic` is a byte.
pub const MAX_READS: usize = 1 << u8::BITS;

/// Limits of a host, for each of its queue pairs. A sender keeps to those of both ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Largest payload of a frame: a [`SegmentSize`].
    pub max_payload: u32,
    /// How many PSNs may be outstanding: a power of two.
    pub window: u16,
    /// How many READs may be outstanding, at least one.
    pub max_rd_atomic: u8,
}

impl Limits {
    /// Whether a host can have such limits.
    pub const fn is_valid(&self) -> bool {
        SegmentSize::new(self.max_payload).is_some()
            && self.window.is_power_of_two()
            && self.max_rd_atomic > 0
    }
}
