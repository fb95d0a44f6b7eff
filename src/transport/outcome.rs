// SPDX-License-Identifier: GPL-2.0

//! What became of a payload.

use super::status::NakCode;

/// What became of a payload that was to be placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All of it is in memory. For the request of a READ: the access is allowed.
    Placed,
    /// It did not arrive in full, or not intact: its sender repeats it.
    Aborted,
    /// All of it arrived, but it could not be placed now: its sender is asked for another.
    Postponed,
    /// The payload may not be placed there.
    Denied(NakCode),
}
