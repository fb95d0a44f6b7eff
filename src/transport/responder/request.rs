// SPDX-License-Identifier: GPL-2.0

//! Arrival of request segments: where each goes, before its turn has come.

use super::super::frame::RequestHeader;
use super::super::frame::SegmentFlags;
use super::super::ids::Epoch;
use super::super::ids::Psn;
use super::super::ids::ReceiveSlot;
use super::super::ids::Rkey;
use super::super::opcode::Opcode;
use super::super::opcode::MAX_MESSAGE;
use super::super::outcome::Outcome;
use super::super::status::NakCode;
use super::super::storage::Storage;
use super::receive::Assignment;
use super::Establishment;
use super::ReceiveQueue;
use super::RequestSlot;
use super::Responder;
use super::SlotState;
use super::Soundness;
use super::State;

/// Identifies a request segment that is being dealt with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestToken {
    epoch: Epoch,
    psn: Psn,
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
    /// It will be complained about when its turn comes.
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
    /// It is taken care of.
    NoPayload,
    /// Drop its payload.
    Drop(DropReason),
}

/// A slot's arrival in short.
enum Placement {
    Write,
    Receive { slot: ReceiveSlot },
    Read,
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
        match self.state {
            State::Running => {}
            State::Failing(_) => return self.on_request_while_failing(request),
            State::Failed => {
                // The NAK may have been lost, or be late.
                self.ack_due = true;
                return Disposition::Drop(DropReason::NotRunning);
            }
            State::Idle => return Disposition::Drop(DropReason::NotRunning),
        }
        if request.src_qpn != self.config.remote_qpn {
            self.counters.bogus += 1;
            return Disposition::Drop(DropReason::Bogus);
        }
        let psn = request.psn;
        if psn.is_before(self.base) {
            self.on_repeated_request(request);
            return Disposition::Drop(DropReason::Duplicate);
        }
        if psn.distance_from(self.base) >= self.window {
            self.counters.bogus += 1;
            return Disposition::Drop(DropReason::Bogus);
        }
        if self.established == Establishment::Silent {
            self.established = Establishment::Untold;
        }
        let placing = match self.requests.at(psn.get()).state {
            SlotState::Empty => SlotState::Placing,
            // What it is marked with is judged anew. But a copy has been dropped for that, which may be the last that the
            // sender has sent: if this one is cut off, it has to be asked for.
            SlotState::Rnr
            | SlotState::Dropped
            | SlotState::Denied(_)
            | SlotState::TooLong
            | SlotState::NoSoundReceive(_) => {
                self.marks -= 1;
                SlotState::PlacingRepeated
            }
            SlotState::Placing | SlotState::PlacingRepeated => {
                self.requests.at_mut(psn.get()).state = SlotState::PlacingRepeated;
                return self.duplicate(request);
            }
            SlotState::Placed => return self.duplicate(request),
        };
        let verdict = if self.is_behind_refused(psn) {
            Err(SlotState::Dropped)
        } else {
            self.place(request, queue)
        };
        if verdict.is_ok() && self.refused == Some(psn) {
            self.refused = self.first_refused_behind(psn);
        }
        *self.requests.at_mut(psn.get()) = RequestSlot {
            state: match verdict {
                Ok(Placement::Nothing) => SlotState::Placed,
                Ok(_) => placing,
                Err(mark) => mark,
            },
            opcode: request.opcode,
            flags: request.flags,
            rsn: request.rsn,
            rkey: request.rkey,
            va: request.va,
            offset: request.offset,
            imm: request.imm,
            response_psn: request.response_psn,
            payload_len: request.payload_len,
        };
        let token = RequestToken {
            epoch: self.epoch,
            psn,
        };
        match verdict {
            Err(mark) => {
                self.marks += 1;
                self.note_refused(psn, mark);
                self.advance(queue);
                Disposition::Drop(DropReason::Refused)
            }
            Ok(Placement::Nothing) => {
                self.advance(queue);
                Disposition::NoPayload
            }
            Ok(Placement::Write) => {
                self.placing += 1;
                Disposition::Write {
                    va: request.va,
                    rkey: request.rkey,
                    len: request.payload_len,
                    token,
                }
            }
            Ok(Placement::Receive { slot }) => {
                self.placing += 1;
                self.receives.begin_placing(request.rsn);
                Disposition::Receive {
                    slot,
                    offset: request.offset,
                    len: request.payload_len,
                    token,
                }
            }
            Ok(Placement::Read) => {
                self.placing += 1;
                Disposition::CheckRead {
                    va: request.va,
                    rkey: request.rkey,
                    len: request.read_length(),
                    token,
                }
            }
        }
    }

    /// What became of a segment. Processes all whose turn has come.
    pub fn commit(&mut self, token: RequestToken, outcome: Outcome, queue: &mut impl ReceiveQueue) {
        if token.epoch != self.epoch {
            return;
        }
        let slot = self.requests.at_mut(token.psn.get());
        let repeated = match slot.state {
            SlotState::Placing => false,
            SlotState::PlacingRepeated => true,
            SlotState::Empty
            | SlotState::Placed
            | SlotState::Rnr
            | SlotState::Dropped
            | SlotState::Denied(_)
            | SlotState::TooLong
            | SlotState::NoSoundReceive(_) => return,
        };
        slot.state = match outcome {
            Outcome::Placed => SlotState::Placed,
            // If no other copy has been dropped, the sender's rail tells it to send another.
            Outcome::Aborted if repeated => SlotState::Dropped,
            Outcome::Aborted => SlotState::Empty,
            Outcome::Denied(code) => SlotState::Denied(code),
        };
        let state = slot.state;
        if matches!(slot.opcode, Opcode::Send | Opcode::SendWithImm) {
            self.receives.end_placing(slot.rsn);
        }
        if state.is_mark() {
            self.marks += 1;
            self.note_refused(token.psn, state);
        }
        self.placing = self.placing.saturating_sub(1);
        if self.state == State::Running {
            self.advance(queue);
        }
    }

    /// Nothing new is taken on, but READs before the request that is refused get their answers, also those that have
    /// to be asked for again.
    fn on_request_while_failing(&mut self, request: &RequestHeader) -> Disposition {
        let is_answered =
            request.src_qpn == self.config.remote_qpn && request.psn.is_before(self.base);
        if !is_answered {
            return Disposition::Drop(DropReason::NotRunning);
        }
        self.on_repeated_request(request);
        Disposition::Drop(DropReason::Duplicate)
    }

    fn duplicate(&mut self, request: &RequestHeader) -> Disposition {
        self.counters.duplicates += 1;
        if request.flags.contains(SegmentFlags::REPEAT) {
            self.ack_due = true;
        }
        Disposition::Drop(DropReason::Duplicate)
    }

    fn on_repeated_request(&mut self, request: &RequestHeader) {
        self.counters.duplicates += 1;
        self.ack_due = true;
        let wants_answer =
            request.opcode == Opcode::Read && request.flags.contains(SegmentFlags::REPEAT);
        if wants_answer {
            self.on_response_ack(request.response_psn);
            self.repeat_responses(request.psn);
        }
    }

    /// Says where a segment goes, or what mark it leaves instead.
    fn place(
        &mut self,
        request: &RequestHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Result<Placement, SlotState> {
        if request.flags.contains(SegmentFlags::ORDERED) && request.psn != self.base {
            return Err(SlotState::Dropped);
        }
        match request.opcode {
            Opcode::Read => {
                let length = request.read_length();
                if length > MAX_MESSAGE {
                    return Err(SlotState::Denied(NakCode::InvalidRequest));
                }
                if length == 0 {
                    return Ok(Placement::Nothing);
                }
                check_range(request.va, length)?;
                Ok(Placement::Read)
            }
            Opcode::Write | Opcode::WriteWithImm => {
                if request.payload_len > 0 {
                    check_range(request.va, request.payload_len)?;
                }
                let ends = request.flags.contains(SegmentFlags::LAST);
                if ends && request.opcode.consumes_receive() {
                    self.assign(request, queue)?;
                }
                Ok(if request.payload_len == 0 {
                    Placement::Nothing
                } else {
                    Placement::Write
                })
            }
            Opcode::Send | Opcode::SendWithImm => {
                let receive = self.assign(request, queue)?;
                let end = u64::from(request.offset) + u64::from(request.payload_len);
                if end > u64::from(receive.length) {
                    return Err(SlotState::TooLong);
                }
                Ok(if request.payload_len == 0 {
                    Placement::Nothing
                } else {
                    Placement::Receive { slot: receive.slot }
                })
            }
        }
    }

    fn assign(
        &mut self,
        request: &RequestHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Result<super::Receive, SlotState> {
        // At most one message ends with each segment before.
        let messages_before = request.psn.distance_from(self.base);
        match self.receives.assign(request.rsn, messages_before, queue) {
            Assignment::Taken(receive) => match receive.soundness {
                Soundness::Sound => Ok(receive),
                Soundness::Broken(status) => Err(SlotState::NoSoundReceive(status)),
            },
            Assignment::NotReady => Err(SlotState::Rnr),
            Assignment::NoRoom => Err(SlotState::Dropped),
            Assignment::Impossible => Err(SlotState::Denied(NakCode::InvalidRequest)),
        }
    }
}

/// Refuses ranges that wrap around the end of the address space.
fn check_range(va: u64, len: u32) -> Result<(), SlotState> {
    match va.checked_add(u64::from(len)) {
        Some(_) => Ok(()),
        None => Err(SlotState::Denied(NakCode::RemoteAccess)),
    }
}
