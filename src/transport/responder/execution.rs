// SPDX-License-Identifier: GPL-2.0

//! Atomic operations and FLUSHes: carried out once, when their turn has come.
//!
//! All requests before have been processed then, and none behind. It is handed out with its slot marked, and its answer is kept
//! among those of READs until the requester has it: a copy of the request that comes later, however late, finds its slot
//! taken or its number passed, and gets that answer again.

use super::nak::Refusal;
use super::ReceiveQueue;
use super::RequestToken;
use super::Responder;
use super::SlotState;
use super::State;
use crate::transport::frame::Action;
use crate::transport::frame::ExecuteRequest;
use crate::transport::frame::Operands;
use crate::transport::frame::Operation;
use crate::transport::frame::SegmentFlags;
use crate::transport::ids::Rkey;
use crate::transport::outcome::Outcome;
use crate::transport::status::NakCode;
use crate::transport::storage::Storage;

/// Something to do in memory now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Execution {
    /// What to do.
    pub action: Action,
    /// Its operands, if it has any.
    pub operands: Operands,
    /// Address of the first byte; aligned if it has to be.
    pub va: u64,
    /// Key it is accessed by.
    pub rkey: Rkey,
    /// To be given back with the outcome.
    pub token: RequestToken,
}

impl<S: Storage> Responder<S> {
    /// The operands of an atomic operation that is allowed have arrived.
    pub fn commit_operands(
        &mut self,
        token: RequestToken,
        operands: Operands,
        queue: &mut impl ReceiveQueue,
    ) {
        if token.epoch == self.epoch {
            self.window.at_mut(token.psn).operands = operands;
        }
        self.commit(token, Outcome::Placed, queue);
    }

    /// Something whose turn has come, to be carried out at once: then call [`Self::commit_execution`]. It is given once.
    #[must_use = "it is never given again"]
    pub fn poll_execution(&mut self) -> Option<Execution> {
        if self.state != State::Running {
            return None;
        }
        let psn = self.window.base();
        let epoch = self.epoch;
        let slot = self.window.at_mut(psn);
        let Operation::Execute(execute) = slot.operation else {
            return None;
        };
        if slot.state != SlotState::Due {
            return None;
        }
        slot.state = SlotState::Executing;
        Some(Execution {
            action: execute.action,
            operands: slot.operands,
            va: execute.va,
            rkey: execute.rkey,
            token: RequestToken { epoch, psn },
        })
    }

    /// What has been done in memory: what the word was before, if that is asked for, or why it could not be done: then nothing was.
    pub fn commit_execution(
        &mut self,
        token: RequestToken,
        outcome: Result<u64, NakCode>,
        queue: &mut impl ReceiveQueue,
    ) {
        // It cannot be due any more if the queue pair has failed meanwhile, or been reset.
        if token.epoch != self.epoch || self.state != State::Running {
            return;
        }
        let slot = self.window.at_mut(token.psn);
        let (flags, operation) = (slot.flags, slot.operation);
        let Operation::Execute(execute) = operation else {
            return;
        };
        if slot.state != SlotState::Executing {
            return;
        }
        match outcome {
            Ok(before) => {
                self.served
                    .accept_executed(token.psn, execute.action, before);
                self.pass(flags);
                self.advance(queue);
            }
            Err(code) => self.refuse(Refusal::flushing(code)),
        }
    }

    /// The turn of the request at the base has come. Fails if it may not be carried out.
    pub(super) fn begin_execution(
        &mut self,
        flags: SegmentFlags,
        execute: &ExecuteRequest,
    ) -> Result<(), NakCode> {
        if self.open.is_some() || !flags.contains(SegmentFlags::ONLY) {
            return Err(NakCode::InvalidRequest);
        }
        self.on_response_ack(execute.response_psn);
        let limit = u32::from(self.config.max_dest_rd_atomic);
        // Before it is carried out: it must be possible to keep its answer.
        if !self.served.has_room(1, limit) {
            return Err(NakCode::InvalidRequest);
        }
        self.window.at_mut(self.window.base()).state = SlotState::Due;
        Ok(())
    }
}
