// SPDX-License-Identifier: GPL-2.0

//! Processing of requests in order, and what is said about those that cannot be.

use super::super::frame::SegmentFlags;
use super::super::frame::Syndrome;
use super::super::ids::Psn;
use super::super::opcode::Opcode;
use super::super::requester::Solicitation;
use super::super::status::CompletionStatus;
use super::super::status::NakCode;
use super::super::status::QpEvent;
use super::super::storage::Storage;
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
            let slot = *self.requests.at(self.base.get());
            match slot.state {
                SlotState::Empty | SlotState::Placing | SlotState::PlacingRepeated => return,
                SlotState::Placed => match self.process(&slot) {
                    Ok(()) => {
                        self.requests.at_mut(self.base.get()).state = SlotState::Empty;
                        self.base = self.base.next();
                        self.soften();
                        if slot.flags.contains(SegmentFlags::ACK_REQUEST) {
                            self.ack_due = true;
                        }
                    }
                    Err(code) => self.refuse(code, FaultyReceive::Flushed),
                },
                SlotState::Rnr => {
                    // A receive may have been posted since.
                    let syndrome = match self.receives.assign(slot.rsn, 0, queue) {
                        Assignment::NotReady => {
                            self.counters.rnr_naks += 1;
                            Syndrome::RnrNak(self.config.rnr_timer)
                        }
                        Assignment::Taken(_) | Assignment::NoRoom | Assignment::Impossible => {
                            self.counters.sequence_naks += 1;
                            Syndrome::SequenceNak
                        }
                    };
                    self.demand_repetition(syndrome);
                    return;
                }
                SlotState::Dropped => {
                    self.counters.sequence_naks += 1;
                    self.demand_repetition(Syndrome::SequenceNak);
                    return;
                }
                SlotState::Denied(code) => {
                    let is_send = matches!(slot.opcode, Opcode::Send | Opcode::SendWithImm);
                    self.refuse(
                        code,
                        if is_send && code == NakCode::RemoteOperation {
                            FaultyReceive::Failed(CompletionStatus::LocalProtectionError)
                        } else {
                            FaultyReceive::Flushed
                        },
                    );
                }
                SlotState::TooLong => {
                    let receive = FaultyReceive::Failed(CompletionStatus::LocalLengthError);
                    self.refuse(NakCode::InvalidRequest, receive);
                }
                SlotState::NoSoundReceive(status) => {
                    self.refuse(NakCode::RemoteOperation, FaultyReceive::Failed(status));
                }
            }
        }
    }

    /// Whether a request before `psn` may end up refused.
    pub(super) fn is_behind_refused(&self, psn: Psn) -> bool {
        self.refused.is_some_and(|refused| refused.is_before(psn))
    }

    /// The request at `psn` has got this mark.
    pub(super) fn note_refused(&mut self, psn: Psn, mark: SlotState) {
        if mark.is_refusal() && self.refused.is_none_or(|known| psn.is_before(known)) {
            self.refused = Some(psn);
        }
    }

    /// The first request behind `psn` that may end up refused.
    pub(super) fn first_refused_behind(&self, psn: Psn) -> Option<Psn> {
        let end = self.base.add(self.window);
        let mut behind = psn.next();
        while self.marks > 0 && behind.is_before(end) {
            if self.requests.at(behind.get()).state.is_refusal() {
                return Some(behind);
            }
            behind = behind.next();
        }
        None
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
        self.complain(fault.syndrome);
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
    fn refuse(&mut self, code: NakCode, receive: FaultyReceive) {
        self.note_fault(Fault {
            syndrome: Syndrome::Nak(code),
            event: event_of(code),
            responses_until: self.served.end(),
            receive,
        });
    }

    /// The request that was complained about has been processed. But the complaint was about all behind
    /// it as well, and may not have been heard: it stays, until there is a new one; its number keeps
    /// the peer from acting upon it twice.
    fn soften(&mut self) {
        match self.syndrome {
            Syndrome::RnrNak(_) => self.syndrome = Syndrome::SequenceNak,
            Syndrome::Ack | Syndrome::SequenceNak | Syndrome::Nak(_) | Syndrome::ReadNak { .. } => {
            }
        }
    }

    /// The request at the base must be sent again, and all behind it.
    fn demand_repetition(&mut self, syndrome: Syndrome) {
        let mut psn = self.base;
        let end = self.base.add(self.window);
        while self.marks > 0 && psn != end {
            let slot = self.requests.at_mut(psn.get());
            if slot.state.is_mark() {
                slot.state = SlotState::Empty;
                self.marks -= 1;
            }
            psn = psn.next();
        }
        self.refused = match syndrome {
            // It may be given up on.
            Syndrome::RnrNak(_) => Some(self.base),
            Syndrome::Ack | Syndrome::SequenceNak | Syndrome::Nak(_) | Syndrome::ReadNak { .. } => {
                None
            }
        };
        self.complain(syndrome);
    }

    /// Processes the segment at the base, which has been placed.
    fn process(&mut self, slot: &RequestSlot) -> Result<(), NakCode> {
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
            .accept(self.base, slot.va, slot.rkey, slot.offset, slot.imm, limit)
            .map_err(|_| NakCode::InvalidRequest)
    }

    /// PSN of the next request to be processed; nothing if not connected.
    pub fn expected_psn(&self) -> Option<Psn> {
        (self.state != State::Idle).then_some(self.base)
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
