// SPDX-License-Identifier: GPL-2.0

//! A message that is being received.

use super::opcode::Opcode;

/// A message of which not all segments have been processed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OpenMessage {
    pub(crate) opcode: Opcode,
    /// Bytes of those that have.
    pub(crate) received: u32,
}
