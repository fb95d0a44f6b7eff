// SPDX-License-Identifier: GPL-2.0

//! Whether messages of a send queue are begun.

/// Whether messages are begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admission {
    /// They are begun as they are posted.
    Open,
    /// No more; there is an event when those begun are complete.
    Draining,
    /// No more, and those begun are complete.
    Drained,
}
