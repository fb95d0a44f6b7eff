// SPDX-License-Identifier: GPL-2.0

//! Processing of requests in order.

use super::nak::NakCause;
use super::nak::Refusal;
use super::receive::Assignment;
use super::receive::KeyNotValid;
use super::receive::ReceiveEnd;
use super::DueAck;
use super::Fault;
use super::FaultyReceive;
use super::ReceiveQueue;
use super::Responder;
use super::SlotState;
use super::State;
use crate::transport::frame::DataSegment;
use crate::transport::frame::Operation;
use crate::transport::frame::ReadRequest;
use crate::transport::frame::SegmentFlags;
use crate::transport::frame::Syndrome;
use crate::transport::ids::Psn;
use crate::transport::ids::Rkey;
use crate::transport::opcode::Opcode;
use crate::transport::open_message::OpenMessage;
use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;
use crate::transport::status::NakCode;
use crate::transport::status::QpEvent;
use crate::transport::storage::Storage;

/// How far the request at the base is.
enum Progress {
    /// It is done.
    Done,
    /// It is to be carried out in memory.
    Waits,
}

impl<S: Storage> Responder<S> {
    /// Processes all requests at the base of the window that can be.
    pub(super) fn advance(&mut self, queue: &mut impl ReceiveQueue) {
        while self.state == State::Running {
            let slot = self.window.at(self.window.base());
            match slot.state {
                SlotState::Empty
                | SlotState::Placing(_)
                | SlotState::Due
                | SlotState::Executing => return,
                SlotState::Placed => {
                    let (flags, operation) = (slot.flags, slot.operation);
                    self.process(flags, &operation, queue);
                }
                SlotState::Nak(cause) => {
                    let opcode = slot.operation.opcode();
                    self.answer_with_nak(cause, opcode, queue);
                }
            }
        }
    }

    /// The request at the base has been placed.
    fn process(
        &mut self,
        flags: SegmentFlags,
        operation: &Operation,
        queue: &mut impl ReceiveQueue,
    ) {
        match self.carry_out(flags, operation, queue) {
            Ok(Progress::Done) => self.pass(flags),
            Ok(Progress::Waits) => {}
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// The request at the base is done.
    pub(super) fn pass(&mut self, flags: SegmentFlags) {
        self.window.pop_first();
        self.naks.on_processed();
        if flags.contains(SegmentFlags::ACK_REQUEST) {
            self.ack.note_processed();
        }
    }

    /// The request at the base cannot be taken.
    fn answer_with_nak(&mut self, cause: NakCause, opcode: Opcode, queue: &mut impl ReceiveQueue) {
        match cause {
            // A receive may have been posted since.
            NakCause::ReceiverNotReady(rsn) => match self.receives.assign(rsn, 0, queue) {
                Assignment::NotReady => {
                    self.counters.rnr_naks += 1;
                    self.raise_for_all(Syndrome::RnrNak(self.config.rnr_timer));
                }
                Assignment::Taken(_) | Assignment::NoRoom | Assignment::Impossible => {
                    self.raise_sequence_nak();
                }
            },
            NakCause::Sequence => self.raise_sequence_nak(),
            NakCause::Refused(code) => self.refuse(Refusal::of(code, opcode)),
            NakCause::TooLong => self.refuse(Refusal::failing(
                NakCode::InvalidRequest,
                CompletionStatus::LocalLengthError,
            )),
            NakCause::BrokenReceive(status) => {
                self.refuse(Refusal::failing(NakCode::RemoteOperation, status));
            }
        }
    }

    fn raise_sequence_nak(&mut self) {
        self.counters.sequence_naks += 1;
        self.raise_for_all(Syndrome::SequenceNak);
    }

    /// The request at the base must be sent again, and all behind it.
    fn raise_for_all(&mut self, syndrome: Syndrome) {
        self.naks.raise_for_all(syndrome, &mut self.window);
        self.ack = DueAck::Urgent;
    }

    /// A fault has been noted; once the answers to all READs before it have been delivered, says so
    /// and enters the error state.
    pub(super) fn settle_fault(&mut self) {
        let State::Failing(fault) = self.state else {
            return;
        };
        if !self.served.has_delivered(fault.responses_until) {
            return;
        }
        let mut event = fault.event;
        if let FaultyReceive::Failed(status) = fault.receive {
            // One was taken, or there would be nothing wrong with it. If it is still being written to,
            // it is flushed afterwards.
            let completed = self.receives.complete(ReceiveEnd {
                opcode: Opcode::Send,
                status,
                byte_len: 0,
                imm: 0,
                rkey: Rkey::default(),
                solicited: Solicitation::Unsolicited,
            });
            if completed.is_ok() {
                event = QpEvent::ReceiveFailed;
            }
        }
        self.raise(fault.syndrome);
        self.event = Some(event);
        self.enter_failed();
    }

    /// Notes a fault, unless an earlier one is known.
    pub(super) fn note_fault(&mut self, fault: Fault) {
        match self.state {
            State::Running => self.state = State::Failing(fault),
            State::Failing(known) => {
                if fault.responses_until.is_before(known.responses_until) {
                    self.state = State::Failing(fault);
                }
            }
            State::Idle | State::Failed => return,
        }
        self.settle_fault();
    }

    /// The request at the base is refused for good.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.note_fault(Fault {
            syndrome: Syndrome::Nak(refusal.code),
            event: event_of(refusal.code),
            responses_until: self.served.end(),
            receive: refusal.receive,
        });
    }

    /// Carries out the request at the base, which has been placed.
    fn carry_out(
        &mut self,
        flags: SegmentFlags,
        operation: &Operation,
        queue: &mut impl ReceiveQueue,
    ) -> Result<Progress, Refusal> {
        match operation {
            Operation::Send { data, imm, .. } | Operation::Write { data, imm, .. } => {
                let opcode = operation.opcode();
                let received = self.continue_message(opcode, flags, data)?;
                if let Operation::Send {
                    response_psn: Some(psn),
                    ..
                } = operation
                {
                    // Whom it tells that the READs are done may take their memory away.
                    self.on_response_ack(*psn);
                }
                if self.open.is_none() && opcode.consumes_receive() {
                    let imm = imm.unwrap_or(0);
                    self.complete_receive(opcode, flags, received, imm, Rkey::default())?;
                }
            }
            Operation::SendWithInvalidate {
                data,
                rkey,
                response_psn,
            } => {
                let opcode = operation.opcode();
                let received = self.continue_message(opcode, flags, data)?;
                if self.open.is_some() {
                    return Ok(Progress::Done);
                }
                // What was read by the key is not read again.
                self.on_response_ack(*response_psn);
                // Once all before it has been done, and before its receiver hears of it.
                queue
                    .invalidate(*rkey)
                    .map_err(|KeyNotValid| Refusal::KEY_NOT_VALID)?;
                self.complete_receive(opcode, flags, received, 0, *rkey)?;
            }
            Operation::Read(read) => {
                if self.open.is_some() || !flags.contains(SegmentFlags::ONLY) {
                    return Err(NakCode::InvalidRequest.into());
                }
                self.serve_read(read)?;
            }
            Operation::Execute(execute) => {
                self.begin_execution(flags, execute)?;
                return Ok(Progress::Waits);
            }
        }
        Ok(Progress::Done)
    }

    /// The message continues, or begins, with this segment. Gives how much of it has been received; it stays open unless
    /// this was the last.
    fn continue_message(
        &mut self,
        opcode: Opcode,
        flags: SegmentFlags,
        data: &DataSegment,
    ) -> Result<u32, NakCode> {
        let is_first = flags.contains(SegmentFlags::FIRST);
        let received = match self.open {
            None if is_first => 0,
            Some(open) if !is_first && open.opcode == opcode => open.received,
            None | Some(_) => return Err(NakCode::InvalidRequest),
        };
        if data.extent.offset() != received || data.rsn != self.receives.next() {
            return Err(NakCode::InvalidRequest);
        }
        let received = data.extent.end();
        if flags.contains(SegmentFlags::LAST) {
            self.open = None;
        } else if data.extent.is_empty() {
            return Err(NakCode::InvalidRequest);
        } else {
            self.open = Some(OpenMessage { opcode, received });
        }
        Ok(received)
    }

    /// A message of so many bytes is complete that uses up a receive.
    fn complete_receive(
        &mut self,
        opcode: Opcode,
        flags: SegmentFlags,
        byte_len: u32,
        imm: u32,
        rkey: Rkey,
    ) -> Result<(), NakCode> {
        let solicited = if flags.contains(SegmentFlags::SOLICITED) {
            Solicitation::Solicited
        } else {
            Solicitation::Unsolicited
        };
        self.receives
            .complete(ReceiveEnd {
                opcode,
                status: CompletionStatus::Success,
                byte_len,
                imm,
                rkey,
                solicited,
            })
            .map_err(|_| NakCode::InvalidRequest)
    }

    fn serve_read(&mut self, read: &ReadRequest) -> Result<(), NakCode> {
        self.on_response_ack(read.response_psn);
        let limit = u32::from(self.config.max_dest_rd_atomic);
        self.served
            .accept(self.window.base(), read, limit)
            .map_err(|_| NakCode::InvalidRequest)
    }

    /// PSN of the next request to be processed; nothing if not connected.
    pub fn expected_psn(&self) -> Option<Psn> {
        (self.state != State::Idle).then_some(self.window.base())
    }
}

/// What the owner of the queue pair gets when a request is refused.
pub(super) const fn event_of(code: NakCode) -> QpEvent {
    match code {
        NakCode::InvalidRequest => QpEvent::InvalidRequest,
        NakCode::RemoteAccess => QpEvent::AccessViolation,
        NakCode::RemoteOperation => QpEvent::Catastrophic,
    }
}
