// SPDX-License-Identifier: GPL-2.0

//! Whether a segment has been sent before.

/// Whether a segment is sent for the first time.
///
/// Its payload lies in memory that an application may be writing to. The first time it is sent from there: copying
/// every payload would cost more than the rare repetition. If checksum and contents disagreed because of that, so they
/// may each time: what is sent again is copied first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// For the first time.
    First,
    /// Not for the first time.
    Again,
}
