// SPDX-License-Identifier: GPL-2.0

//! Counts of what a variant did.

use serde::Serialize;

use super::plan::Carriage;
use super::plan::Op;
use super::plan::OpKind;
use super::plan::Signalling;

/// What a variant did, counted at this end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Rounds.
    pub rounds: u64,
    /// SENDs posted.
    pub send: u64,
    /// SENDs with immediate data posted.
    pub send_imm: u64,
    /// WRITEs posted.
    pub write: u64,
    /// WRITEs with immediate data posted.
    pub write_imm: u64,
    /// READs posted.
    pub read: u64,
    /// Of all posted: those with inline data.
    pub inline: u64,
    /// Of all posted: those without bytes.
    pub empty: u64,
    /// Of all posted: those without a CQE.
    pub unsignalled: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of all posted operations.
    pub bytes: u64,
    /// Completion events taken.
    pub events: u64,
    /// Rounds in which receives were posted late.
    pub late_receives: u64,
}

impl Tally {
    /// Counts an operation that was posted.
    pub fn note(&mut self, op: &Op) {
        *match op.kind {
            OpKind::Send => &mut self.send,
            OpKind::SendImm => &mut self.send_imm,
            OpKind::Write => &mut self.write,
            OpKind::WriteImm => &mut self.write_imm,
            OpKind::Read => &mut self.read,
        } += 1;
        self.inline += u64::from(op.carriage == Carriage::Inline);
        self.empty += u64::from(op.len == 0);
        self.unsignalled += u64::from(op.signalling == Signalling::Unsignalled);
        self.bytes += op.len as u64;
    }
}
