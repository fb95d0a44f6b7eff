// SPDX-License-Identifier: GPL-2.0

//! Arrival of request segments: where each goes, before its turn has come.

use super::nak::NakCause;
use super::receive::Assignment;
use super::window::Copies;
use super::DueAck;
use super::ReceiveQueue;
use super::RequestSlot;
use super::Responder;
use super::SlotState;
use super::Soundness;
use super::State;
use crate::transport::frame::Action;
use crate::transport::frame::DataSegment;
use crate::transport::frame::ExecuteRequest;
use crate::transport::frame::Extent;
use crate::transport::frame::Operands;
use crate::transport::frame::Operation;
use crate::transport::frame::ReadRequest;
use crate::transport::frame::RequestHeader;
use crate::transport::frame::SegmentFlags;
use crate::transport::ids::Epoch;
use crate::transport::ids::Psn;
use crate::transport::ids::ReceiveSlot;
use crate::transport::ids::Rkey;
use crate::transport::ids::Rsn;
use crate::transport::opcode::MAX_MESSAGE;
use crate::transport::outcome::Outcome;
use crate::transport::status::NakCode;
use crate::transport::storage::Storage;

/// Identifies a request segment that is being dealt with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestToken {
    pub(super) epoch: Epoch,
    pub(super) psn: Psn,
}

/// Why a segment is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// It has been processed, or is being processed.
    Duplicate,
    /// It is not from the connection, or far from the window.
    Bogus,
    /// The queue pair is not connected, or in the error state.
    NotRunning,
    /// A NAK will say why when its turn comes.
    Refused,
}

/// What to do with a request segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Place its payload at this remote address, then call [`Responder::commit`]. Whether the key
    /// allows a remote write there is for the caller to check: if not, drop the payload and commit
    /// `Outcome::Denied(NakCode::RemoteAccess)`.
    Write {
        /// Address of the first byte; `va + len` does not overflow.
        va: u64,
        /// Key it is accessed by.
        rkey: Rkey,
        /// How many bytes.
        len: u32,
        /// To be given back with the outcome.
        token: RequestToken,
    },
    /// Place its payload into the buffers of this receive, then call [`Responder::commit`].
    Receive {
        /// Which receive.
        slot: ReceiveSlot,
        /// Where in its buffers; `offset + len` is within them.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// To be given back with the outcome.
        token: RequestToken,
    },
    /// Check whether the key allows a remote read of this range, then call [`Responder::commit`] with
    /// `Placed` or `Denied`.
    CheckRead {
        /// Address of the first byte; `va + len` does not overflow.
        va: u64,
        /// Key it is accessed by.
        rkey: Rkey,
        /// How many bytes.
        len: u32,
        /// To be given back with the outcome.
        token: RequestToken,
    },
    /// Check whether the key allows this action in this range. If so, call [`Responder::commit_operands`] with the payload, or
    /// [`Responder::commit`] with `Placed` if there is none; else the latter with `Denied`. It is carried out later: see
    /// [`Responder::poll_execution`].
    CheckExecution {
        /// What is to be done.
        action: Action,
        /// Address of the first byte; `va` and the action's length together do not overflow.
        va: u64,
        /// Key it is accessed by.
        rkey: Rkey,
        /// To be given back with the outcome.
        token: RequestToken,
    },
    /// There is no payload; the request is taken care of.
    NoPayload,
    /// Drop its payload.
    Drop(DropReason),
}

/// What has to be done with the payload of a request that is taken.
enum Placement {
    /// It goes to memory that the peer names.
    Write { va: u64, rkey: Rkey, len: u32 },
    /// It goes to the receive with this number.
    Receive {
        rsn: Rsn,
        slot: ReceiveSlot,
        extent: Extent,
    },
    /// There is none; memory that the peer names is to be read.
    Read { va: u64, rkey: Rkey, len: u32 },
    /// It is the operands of something that is to be done in memory that the peer names.
    Execute { action: Action, va: u64, rkey: Rkey },
    /// There is none.
    Nothing,
}

impl<S: Storage> Responder<S> {
    /// A segment of a request has arrived. Between this and [`Self::commit`] the caller may let go of
    /// its lock.
    pub fn on_request(
        &mut self,
        request: &RequestHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Disposition {
        if let Err(reason) = self.check(request) {
            return Disposition::Drop(reason);
        }
        let psn = request.psn;
        let copies = match self.window.at(psn).state {
            SlotState::Empty => Copies::One,
            // It is judged anew. But a copy has been dropped, which may be the last that the sender has sent: if this
            // one is cut off, it has to be asked for.
            SlotState::Nak(_) => {
                self.naks.withdraw();
                Copies::Dropped
            }
            SlotState::Placing(_) => {
                self.window.at_mut(psn).state = SlotState::Placing(Copies::Dropped);
                return self.duplicate(request);
            }
            SlotState::Placed | SlotState::Due | SlotState::Executing => {
                return self.duplicate(request)
            }
        };
        let verdict = if self.naks.is_behind_barrier(psn) {
            Err(NakCause::Sequence)
        } else {
            self.place(request, queue)
        };
        *self.window.at_mut(psn) = RequestSlot {
            state: SlotState::Empty,
            flags: request.flags,
            operation: request.operation,
            operands: Operands::default(),
        };
        match verdict {
            Ok(placement) => {
                self.naks.note_taken(psn, &self.window);
                self.take(psn, placement, copies, queue)
            }
            Err(cause) => {
                self.naks.note(psn, cause, &mut self.window);
                self.advance(queue);
                Disposition::Drop(DropReason::Refused)
            }
        }
    }

    /// What became of a segment. Processes all whose turn has come.
    pub fn commit(&mut self, token: RequestToken, outcome: Outcome, queue: &mut impl ReceiveQueue) {
        if token.epoch != self.epoch {
            return;
        }
        let slot = self.window.at_mut(token.psn);
        let SlotState::Placing(copies) = slot.state else {
            return;
        };
        if let Operation::Send { data, .. } | Operation::SendWithInvalidate { data, .. } =
            &slot.operation
        {
            self.receives.end_placing(data.rsn);
        }
        let cause = match (outcome, copies) {
            (Outcome::Placed, _) => {
                slot.state = SlotState::Placed;
                None
            }
            // The sender's rail tells it to send another.
            (Outcome::Aborted, Copies::One) => {
                slot.state = SlotState::Empty;
                None
            }
            (Outcome::Aborted, Copies::Dropped) | (Outcome::Postponed, _) => {
                Some(NakCause::Sequence)
            }
            (Outcome::Denied(code), _) => Some(NakCause::Refused(code)),
        };
        if let Some(cause) = cause {
            self.naks.note(token.psn, cause, &mut self.window);
        }
        self.placing = self.placing.saturating_sub(1);
        if self.state == State::Running {
            self.advance(queue);
        }
    }

    /// Whether a request is of this connection, in its window, and to be taken on.
    fn check(&mut self, request: &RequestHeader) -> Result<(), DropReason> {
        match self.state {
            State::Running => {}
            State::Failing(_) => return Err(self.on_request_while_failing(request)),
            State::Failed => {
                // The NAK may have been lost, or be late.
                self.ack = DueAck::Urgent;
                return Err(DropReason::NotRunning);
            }
            State::Idle => return Err(DropReason::NotRunning),
        }
        if request.src_qpn != self.config.remote_qpn {
            self.counters.bogus += 1;
            return Err(DropReason::Bogus);
        }
        if request.psn.is_before(self.window.base()) {
            self.on_repeated_request(request);
            return Err(DropReason::Duplicate);
        }
        if request.psn.distance_from(self.window.base()) >= self.window.size() {
            self.counters.bogus += 1;
            return Err(DropReason::Bogus);
        }
        self.established.reach();
        Ok(())
    }

    /// Takes a request, which has its slot.
    fn take(
        &mut self,
        psn: Psn,
        placement: Placement,
        copies: Copies,
        queue: &mut impl ReceiveQueue,
    ) -> Disposition {
        let slot = self.window.at_mut(psn);
        let token = RequestToken {
            epoch: self.epoch,
            psn,
        };
        let disposition = match placement {
            Placement::Nothing => {
                slot.state = SlotState::Placed;
                self.advance(queue);
                return Disposition::NoPayload;
            }
            Placement::Write { va, rkey, len } => Disposition::Write {
                va,
                rkey,
                len,
                token,
            },
            Placement::Receive { rsn, slot, extent } => {
                self.receives.begin_placing(rsn);
                Disposition::Receive {
                    slot,
                    offset: extent.offset(),
                    len: extent.len(),
                    token,
                }
            }
            Placement::Read { va, rkey, len } => Disposition::CheckRead {
                va,
                rkey,
                len,
                token,
            },
            Placement::Execute { action, va, rkey } => Disposition::CheckExecution {
                action,
                va,
                rkey,
                token,
            },
        };
        slot.state = SlotState::Placing(copies);
        self.placing += 1;
        disposition
    }

    /// Nothing new is taken on, but READs before the request that is refused get their answers, also those that have
    /// to be asked for again.
    fn on_request_while_failing(&mut self, request: &RequestHeader) -> DropReason {
        let is_answered =
            request.src_qpn == self.config.remote_qpn && request.psn.is_before(self.window.base());
        if !is_answered {
            return DropReason::NotRunning;
        }
        self.on_repeated_request(request);
        DropReason::Duplicate
    }

    fn duplicate(&mut self, request: &RequestHeader) -> Disposition {
        self.counters.duplicates += 1;
        if request.flags.contains(SegmentFlags::REPEAT) {
            self.ack = DueAck::Urgent;
        }
        Disposition::Drop(DropReason::Duplicate)
    }

    fn on_repeated_request(&mut self, request: &RequestHeader) {
        self.counters.duplicates += 1;
        self.ack = DueAck::Urgent;
        let response_psn = match &request.operation {
            Operation::Send { .. }
            | Operation::SendWithInvalidate { .. }
            | Operation::Write { .. } => return,
            Operation::Read(read) => read.response_psn,
            Operation::Execute(execute) => execute.response_psn,
        };
        if request.flags.contains(SegmentFlags::REPEAT) {
            self.on_response_ack(response_psn);
            self.repeat_responses(request.psn);
        }
    }

    /// Says where a segment goes, or why it cannot be taken.
    fn place(
        &mut self,
        request: &RequestHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Result<Placement, NakCause> {
        if request.flags.contains(SegmentFlags::ORDERED) && request.psn != self.window.base() {
            return Err(NakCause::Sequence);
        }
        match &request.operation {
            Operation::Send { data, .. } | Operation::SendWithInvalidate { data, .. } => {
                self.place_send(request.psn, data, queue)
            }
            Operation::Write {
                data,
                imm,
                va,
                rkey,
            } => {
                let len = data.extent.len();
                check_range(*va, len)?;
                if imm.is_some() && request.flags.contains(SegmentFlags::LAST) {
                    self.assign(request.psn, data.rsn, queue)?;
                }
                Ok(match len {
                    0 => Placement::Nothing,
                    _ => Placement::Write {
                        va: *va,
                        rkey: *rkey,
                        len,
                    },
                })
            }
            Operation::Read(read) => place_read(read),
            Operation::Execute(execute) => place_execution(execute),
        }
    }

    fn place_send(
        &mut self,
        psn: Psn,
        data: &DataSegment,
        queue: &mut impl ReceiveQueue,
    ) -> Result<Placement, NakCause> {
        let receive = self.assign(psn, data.rsn, queue)?;
        if data.extent.end() > receive.length {
            return Err(NakCause::TooLong);
        }
        Ok(if data.extent.is_empty() {
            Placement::Nothing
        } else {
            Placement::Receive {
                rsn: data.rsn,
                slot: receive.slot,
                extent: data.extent,
            }
        })
    }

    /// The receive with this number, for the message that the request `psn` is of.
    fn assign(
        &mut self,
        psn: Psn,
        rsn: Rsn,
        queue: &mut impl ReceiveQueue,
    ) -> Result<super::Receive, NakCause> {
        // At most one message ends with each segment before.
        let messages_before = psn.distance_from(self.window.base());
        match self.receives.assign(rsn, messages_before, queue) {
            Assignment::Taken(receive) => match receive.soundness {
                Soundness::Sound => Ok(receive),
                Soundness::Broken(status) => Err(NakCause::BrokenReceive(status)),
            },
            Assignment::NotReady => Err(NakCause::ReceiverNotReady(rsn)),
            Assignment::NoRoom => Err(NakCause::Sequence),
            Assignment::Impossible => Err(NakCause::Refused(NakCode::InvalidRequest)),
        }
    }
}

fn place_read(read: &ReadRequest) -> Result<Placement, NakCause> {
    if read.length > MAX_MESSAGE {
        return Err(NakCause::Refused(NakCode::InvalidRequest));
    }
    check_range(read.va, read.length)?;
    Ok(match read.length {
        0 => Placement::Nothing,
        len => Placement::Read {
            va: read.va,
            rkey: read.rkey,
            len,
        },
    })
}

fn place_execution(execute: &ExecuteRequest) -> Result<Placement, NakCause> {
    let ExecuteRequest {
        action, va, rkey, ..
    } = *execute;
    check_range(va, action.length())?;
    if !action.is_aligned(va) {
        return Err(NakCause::Refused(NakCode::InvalidRequest));
    }
    Ok(Placement::Execute { action, va, rkey })
}

/// Refuses ranges that wrap around the end of the address space. One without bytes does not.
fn check_range(va: u64, len: u32) -> Result<(), NakCause> {
    match va.checked_add(u64::from(len)) {
        Some(_) => Ok(()),
        None => Err(NakCause::Refused(NakCode::RemoteAccess)),
    }
}
