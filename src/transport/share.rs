// SPDX-License-Identifier: GPL-2.0

//! A queue pair's part of the short messages that are under way to a host.

/// What a queue pair that posts a stream of short messages has under way; of any other it is [`Self::NONE`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// Its requests that are not complete.
    pub under_way: u32,
    /// Whether the host owes an acknowledgement of them.
    pub is_owed: bool,
}

impl Share {
    /// Nothing.
    pub const NONE: Self = Self {
        under_way: 0,
        is_owed: false,
    };
}

/// Why it has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Something has arrived from the host: who received it asks for what is due, and sees to what waits.
    Arrival,
    /// Anything else.
    Other,
}
