// SPDX-License-Identifier: GPL-2.0

//! Local operations: requests of the send queue that this host carries out itself.
//!
//! They take their turn among the others, and their completions do, but nothing of them goes to the peer: they have no
//! segments. What exactly is to be done is the owner's to know, under the slot that the request was posted as.

use super::messages::Executor;
use super::messages::LocalProgress;
use super::Fencing;
use super::PostError;
use super::Requester;
use super::SendRequest;
use super::Signalling;
use crate::transport::admission::Admission;
use crate::transport::ids::Instant;
use crate::transport::ids::MessageSlot;
use crate::transport::message_number::MessageNumber;
use crate::transport::send_state::SendState;
use crate::transport::status::CompletionStatus;
use crate::transport::storage::Storage;

/// What this host is to do itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalOperation {
    /// Bind a memory window: when all requests before it have been begun, and before any behind it is (IBTA 10.8.3.3).
    BindWindow,
    /// Invalidate a key: when all requests before it are complete (local invalidate fence, IBTA 10.6.5.1), and before any
    /// behind it is begun.
    Invalidate,
    /// Register memory: when all requests before it have been begun, and before any behind it is (IBTA 10.6.3.8, fast
    /// registration).
    Register,
}

/// A local operation to post.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalRequest {
    /// The user's name for it.
    pub wr_id: u64,
    /// What is to be done.
    pub operation: LocalOperation,
    /// Whether to report success.
    pub signalling: Signalling,
    /// Whether to wait for READs.
    pub fencing: Fencing,
}

/// A local operation whose turn has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DueOperation {
    /// What it was posted as.
    pub slot: MessageSlot,
    /// What is to be done.
    pub operation: LocalOperation,
}

impl LocalRequest {
    /// What it has in common with requests that the peer carries out.
    pub(in crate::transport) fn common(&self) -> SendRequest {
        SendRequest {
            wr_id: self.wr_id,
            signalling: self.signalling,
            fencing: self.fencing,
            ..SendRequest::default()
        }
    }
}

impl<S: Storage> Requester<S> {
    /// Posts a local operation. After a failure it will be flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post_local(&mut self, request: LocalRequest) -> Result<MessageSlot, PostError> {
        if self.state == SendState::Idle {
            return Err(PostError::NotConnected);
        }
        let executor = Executor::Host(request.operation, LocalProgress::Waiting);
        let number = self
            .messages
            .push(request.common(), executor)
            .ok_or(PostError::Full)?;
        Ok(self.messages.slot_of(number))
    }

    /// The local operation to be carried out now, if there is one: nothing behind it is begun before its end has been
    /// told to [`Self::finish_local`]. Whatever changes the requester may make one due.
    pub fn due_local(&self) -> Option<DueOperation> {
        if self.messages.is_admitting() || self.admission != Admission::Open {
            return None;
        }
        let number = self.messages.next_to_admit()?;
        let message = self.messages.at(number);
        let operation = message.executor.local()?;
        let is_held = message.request.fencing == Fencing::Fenced && self.reads.outstanding() > 0;
        let may_run = match operation {
            LocalOperation::BindWindow | LocalOperation::Register => true,
            LocalOperation::Invalidate => self.messages.first_incomplete() == number,
        };
        (self.may_send(number) && !is_held && may_run).then(|| DueOperation {
            slot: self.messages.slot_of(number),
            operation,
        })
    }

    /// The local operation posted as `slot`, which was due, has been carried out, or has failed with this status.
    pub fn finish_local(
        &mut self,
        slot: MessageSlot,
        result: Result<(), CompletionStatus>,
        now: Instant,
    ) {
        let due = self.messages.find(slot).filter(|&number| {
            self.messages.next_to_admit() == Some(number) && self.is_local(number)
        });
        let Some(number) = due else {
            return;
        };
        match result {
            Ok(()) => {
                self.messages.finish_local();
                // What is behind it may begin now.
                if !self.recovery.is_armed() && !self.recovery.is_rnr_waiting() && self.is_waiting()
                {
                    self.arm(now);
                }
            }
            Err(status) => self.fail(number, status),
        }
    }

    /// Whether the message is a local operation.
    pub(super) fn is_local(&self, number: MessageNumber) -> bool {
        self.messages.at(number).executor.local().is_some()
    }
}
