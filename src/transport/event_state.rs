// SPDX-License-Identifier: GPL-2.0

//! Events that come once in a connection's life.

/// Whether an event that comes once has been reported to the owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EventState {
    /// The cause of the event has not come.
    Unreached,
    /// The event is to be reported.
    Pending,
    /// The event has been reported.
    Reported,
}

impl EventState {
    /// The cause of the event has come, perhaps not for the first time.
    pub(crate) fn reach(&mut self) {
        if *self == Self::Unreached {
            *self = Self::Pending;
        }
    }

    /// Whether the event is to be reported, which happens now.
    pub(crate) fn take(&mut self) -> bool {
        let is_pending = *self == Self::Pending;
        if is_pending {
            *self = Self::Reported;
        }
        is_pending
    }
}
