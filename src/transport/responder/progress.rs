// SPDX-License-Identifier: GPL-2.0

//! Processing of requests in order.

use super::super::frame::SegmentFlags;
use super::super::frame::Syndrome;
use super::super::ids::Psn;
use super::super::opcode::Opcode;
use super::super::requester::Solicitation;
use super::super::status::CompletionStatus;
use super::super::status::NakCode;
use super::super::status::QpEvent;
use super::super::storage::Storage;
use super::nak::NakCause;
use super::nak::Refusal;
use super::receive::Assignment;
use super::receive::ReceiveEnd;
use super::Fault;
use super::FaultyReceive;
use super::OpenMessage;
use super::ReceiveQueue;
use super::RequestSlot;
use super::Responder;
use super::SlotState;
use super::State;

impl<S: Storage> Responder<S> {
    /// Processes all requests at the base of the window that can be.
    pub(super) fn advance(&mut self, queue: &mut impl ReceiveQueue) {
        while self.state == State::Running {
            let slot = *self.window.at(self.window.base());
            match slot.state {
                SlotState::Empty | SlotState::Placing(_) => return,
                SlotState::Placed => self.process(&slot),
                SlotState::Nak(cause) => self.answer_with_nak(cause, &slot, queue),
            }
        }
    }

    /// The request at the base has been placed.
    fn process(&mut self, slot: &RequestSlot) {
        match self.carry_out(slot) {
            Ok(()) => {
                self.window.pop_first();
                self.naks.on_processed();
                if slot.flags.contains(SegmentFlags::ACK_REQUEST) {
                    self.ack_due = true;
                }
            }
            Err(code) => self.refuse(Refusal::flushing(code)),
        }
    }

    /// The request at the base cannot be taken.
    fn answer_with_nak(
        &mut self,
        cause: NakCause,
        slot: &RequestSlot,
        queue: &mut impl ReceiveQueue,
    ) {
        match cause {
            // A receive may have been posted since.
            NakCause::ReceiverNotReady => match self.receives.assign(slot.rsn, 0, queue) {
                Assignment::NotReady => {
                    self.counters.rnr_naks += 1;
                    self.raise_for_all(Syndrome::RnrNak(self.config.rnr_timer));
                }
                Assignment::Taken(_) | Assignment::NoRoom | Assignment::Impossible => {
                    self.raise_sequence_nak();
                }
            },
            NakCause::Sequence => self.raise_sequence_nak(),
            NakCause::Refused(code) => self.refuse(Refusal::of(code, slot.opcode)),
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
        self.ack_due = true;
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
    fn refuse(&mut self, refusal: Refusal) {
        self.note_fault(Fault {
            syndrome: Syndrome::Nak(refusal.code),
            event: event_of(refusal.code),
            responses_until: self.served.end(),
            receive: refusal.receive,
        });
    }

    /// Carries out the request at the base, which has been placed.
    fn carry_out(&mut self, slot: &RequestSlot) -> Result<(), NakCode> {
        let is_first = slot.flags.contains(SegmentFlags::FIRST);
        let is_last = slot.flags.contains(SegmentFlags::LAST);
        if slot.opcode == Opcode::Read {
            if self.open.is_some() || !is_first || !is_last {
                return Err(NakCode::InvalidRequest);
            }
            return self.serve_read(slot);
        }
        let received = match self.open {
            None if is_first => 0,
            Some(open) if !is_first && open.opcode == slot.opcode => open.received,
            None | Some(_) => return Err(NakCode::InvalidRequest),
        };
        if slot.offset != received || slot.rsn != self.receives.next() {
            return Err(NakCode::InvalidRequest);
        }
        // In range: a header's offset plus length is at most 2^31.
        let received = received.saturating_add(slot.payload_len);
        if !is_last {
            if slot.payload_len == 0 {
                return Err(NakCode::InvalidRequest);
            }
            self.open = Some(OpenMessage {
                opcode: slot.opcode,
                received,
            });
            return Ok(());
        }
        self.open = None;
        if !slot.opcode.consumes_receive() {
            return Ok(());
        }
        let solicited = if slot.flags.contains(SegmentFlags::SOLICITED) {
            Solicitation::Solicited
        } else {
            Solicitation::Unsolicited
        };
        self.receives
            .complete(ReceiveEnd {
                opcode: slot.opcode,
                status: CompletionStatus::Success,
                byte_len: received,
                imm: slot.imm,
                solicited,
            })
            .map_err(|_| NakCode::InvalidRequest)
    }

    fn serve_read(&mut self, slot: &RequestSlot) -> Result<(), NakCode> {
        self.on_response_ack(slot.response_psn);
        let limit = u32::from(self.config.max_dest_rd_atomic);
        self.served
            .accept(
                self.window.base(),
                slot.va,
                slot.rkey,
                slot.offset,
                slot.imm,
                limit,
            )
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
