// SPDX-License-Identifier: GPL-2.0

//! Numbers of messages in a send queue.

use super::ids::MessageSlot;
use super::ids::BEFORE_WRAP;

/// Running number of a message, modulo 2^32.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct MessageNumber(u32);

impl MessageNumber {
    /// Number of the first message.
    pub(crate) const FIRST: Self = Self(BEFORE_WRAP);

    /// The one posted after it.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many messages were posted from `base` on before it.
    pub(crate) const fn distance_from(self, base: Self) -> u32 {
        self.0.wrapping_sub(base.0)
    }

    /// Whether it was posted before `other`; neither was posted before `base`.
    pub(crate) const fn is_before(self, other: Self, base: Self) -> bool {
        self.distance_from(base) < other.distance_from(base)
    }

    /// Where a table has the message.
    pub(crate) const fn position(self) -> u32 {
        self.0
    }

    /// The message from `base` on that is in this slot of a table of `table_len` messages, which is a power of two.
    pub(crate) const fn in_slot(slot: MessageSlot, base: Self, table_len: u32) -> Self {
        let ahead = (slot.0 as u32).wrapping_sub(base.0) & (table_len - 1);
        Self(base.0.wrapping_add(ahead))
    }
}
