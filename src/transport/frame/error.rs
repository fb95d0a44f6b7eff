// SPDX-License-Identifier: GPL-2.0

//! What is wrong with bytes that are no header.

/// Why 64 bytes are not a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// Fewer than 64 bytes.
    Short,
    /// The first word is not that of the session.
    SyncWord,
    /// The checksum is wrong.
    Checksum,
    /// The checksum is right, but a field has a value that is not defined.
    Field,
}
