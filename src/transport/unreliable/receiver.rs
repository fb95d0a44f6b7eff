// SPDX-License-Identifier: GPL-2.0

//! Receiving side of an unreliable connection: puts the segments of a message together, or drops all of it.

use crate::transport::event_state::EventState;
use crate::transport::frame::SegmentFlags;
use crate::transport::frame::UnreliableHeader;
use crate::transport::frame::UnreliableOperation;
use crate::transport::ids::Epoch;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::ReceiveSlot;
use crate::transport::ids::Rkey;
use crate::transport::opcode::Opcode;
use crate::transport::open_message::OpenMessage;
use crate::transport::outcome::Outcome;
use crate::transport::requester::Solicitation;
use crate::transport::responder::Receive;
use crate::transport::responder::ReceiveCompletion;
use crate::transport::responder::ReceiveQueue;
use crate::transport::responder::Soundness;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;

/// Attributes of the connection as the receiver needs them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceiverConfig {
    /// Our queue pair.
    pub local_qpn: Qpn,
    /// The peer's queue pair.
    pub remote_qpn: Qpn,
    /// PSN of the first segment (`rq_psn`). A message that begins with another one is taken all the same (IBTA 9.8.2.2).
    pub initial_psn: Psn,
}

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReceiverCounters {
    /// Messages that had begun and were dropped, since a segment of them was lost or not placed.
    pub broken_messages: u64,
    /// Segments dropped that continue no message: the one they are of has been dropped, or its beginning was lost.
    pub orphans: u64,
    /// Segments dropped that were overtaken by others over another rail.
    pub overtaken: u64,
    /// Messages dropped for want of a receive.
    pub no_receive: u64,
    /// Messages dropped since they are longer than the receive, or since the key does not allow the access.
    pub refused: u64,
    /// Segments from the wrong queue pair, or that cannot be.
    pub bogus: u64,
}

/// Identifies a payload that is being placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlacementToken {
    epoch: Epoch,
    psn: Psn,
}

/// Why a segment is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreliableDrop {
    /// The queue pair is not connected, or in the error state.
    NotRunning,
    /// It is not from the connection, or cannot be.
    Bogus,
    /// Segments sent later over another rail have come before it, or one is being placed.
    Overtaken,
    /// It continues no message that is being received.
    Orphan,
    /// There is no receive for its message.
    NoReceive,
    /// Its message is longer than the receive, or names memory that cannot be.
    Refused,
}

/// What to do with a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreliableDisposition {
    /// Place its payload at this remote address and report the outcome. Whether the key allows a remote write there is for the
    /// caller to check: if not, drop the payload and report `Outcome::Denied`.
    Write {
        /// Address of the first byte; `va + len` does not overflow.
        va: u64,
        /// Key it is accessed by.
        rkey: Rkey,
        /// How many bytes, at least one.
        len: u32,
        /// To be given back with the outcome.
        token: PlacementToken,
    },
    /// Place its payload into the buffers of this receive and report the outcome.
    Receive {
        /// Which receive.
        slot: ReceiveSlot,
        /// Where in its buffers; `offset + len` is within them.
        offset: u32,
        /// How many bytes, at least one.
        len: u32,
        /// To be given back with the outcome.
        token: PlacementToken,
    },
    /// There is no payload; the segment is taken care of.
    NoPayload,
    /// Drop its payload.
    Drop(UnreliableDrop),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not connected.
    Idle,
    /// Working.
    Running,
    /// In the error state.
    Failed,
}

/// Receiver of a queue pair.
///
/// One message is received at a time, into one receive. If the message breaks off, the receive is kept for the next one: also one
/// of a shared queue, which cannot take it back.
///
/// # Invariants
///
/// While a payload is being placed, the message it is of is `open`, and nothing else is taken: so its receive is not used for
/// another one meanwhile.
pub(super) struct Receiver {
    config: ReceiverConfig,
    state: State,
    epoch: Epoch,
    /// PSN of the next segment, if none is lost.
    expected: Psn,
    /// The rail over which the last segment has come.
    rail: Option<RailId>,
    open: Option<OpenMessage>,
    placing: Option<UnreliableHeader>,
    /// The receive of the message that is open, or of the next.
    receive: Option<Receive>,
    completion: Option<ReceiveCompletion>,
    established: EventState,
    event: Option<QpEvent>,
    last_wqe: EventState,
    counters: ReceiverCounters,
}

const UNCONNECTED: ReceiverConfig = ReceiverConfig {
    local_qpn: Qpn::new(0),
    remote_qpn: Qpn::new(0),
    initial_psn: Psn::new(0),
};

impl Receiver {
    /// A receiver that is not connected.
    pub(super) fn new() -> Self {
        Self {
            config: UNCONNECTED,
            state: State::Idle,
            epoch: Epoch::default(),
            expected: Psn::new(0),
            rail: None,
            open: None,
            placing: None,
            receive: None,
            completion: None,
            established: EventState::Unreached,
            event: None,
            last_wqe: EventState::Unreached,
            counters: ReceiverCounters::default(),
        }
    }

    pub(super) fn start(&mut self, config: ReceiverConfig) {
        self.reset();
        self.config = config;
        self.expected = config.initial_psn;
        self.state = State::Running;
    }

    /// A receive that had been taken is not flushed.
    pub(super) fn reset(&mut self) {
        *self = Self {
            epoch: self.epoch.next(),
            counters: self.counters,
            ..Self::new()
        };
    }

    pub(super) fn flush(&mut self) {
        if self.state == State::Running {
            self.state = State::Failed;
        }
    }

    pub(super) fn on_segment(
        &mut self,
        segment: &UnreliableHeader,
        rail: RailId,
        queue: &mut impl ReceiveQueue,
    ) -> UnreliableDisposition {
        match self.take(segment, rail, queue) {
            Ok(disposition) => disposition,
            Err(reason) => {
                self.count(reason);
                UnreliableDisposition::Drop(reason)
            }
        }
    }

    /// What became of a payload.
    pub(super) fn commit(&mut self, token: PlacementToken, outcome: Outcome) {
        let is_awaited = self
            .placing
            .is_some_and(|segment| segment.psn == token.psn && self.epoch == token.epoch);
        let Some(segment) = self.placing.take_if(|_| is_awaited) else {
            return;
        };
        if self.state != State::Running {
            return;
        }
        match (outcome, segment.operation) {
            (Outcome::Placed, _) => self.advance(&segment),
            (Outcome::Aborted | Outcome::Postponed, _) => self.break_off(),
            // IBTA 9.9.3, class D: nobody is told.
            (Outcome::Denied(_), UnreliableOperation::Write { .. }) => {
                self.counters.refused += 1;
                self.open = None;
            }
            // The receive is what is wrong, and its user learns of it (IBTA 9.9.3, class A).
            (Outcome::Denied(_), UnreliableOperation::Send { .. }) => {
                self.fail(CompletionStatus::LocalProtectionError);
            }
        }
    }

    pub(super) fn poll_completion(&mut self) -> Option<ReceiveCompletion> {
        let completion = self.completion.take();
        if completion.is_some() || self.state != State::Failed || self.placing.is_some() {
            return completion;
        }
        let receive = self.receive.take()?;
        Some(completion_of(&receive, CompletionStatus::FlushError))
    }

    pub(super) fn poll_event(&mut self) -> Option<QpEvent> {
        if self.established.take() {
            return Some(QpEvent::CommunicationEstablished);
        }
        if let Some(event) = self.event.take() {
            return Some(event);
        }
        let is_flushed =
            self.placing.is_none() && self.receive.is_none() && self.completion.is_none();
        if self.state == State::Failed && self.last_wqe == EventState::Unreached && is_flushed {
            self.last_wqe = EventState::Reported;
            return Some(QpEvent::LastWqeReached);
        }
        None
    }

    pub(super) fn expected_psn(&self) -> Option<Psn> {
        (self.state != State::Idle).then_some(self.expected)
    }

    pub(super) const fn counters(&self) -> ReceiverCounters {
        self.counters
    }

    fn take(
        &mut self,
        segment: &UnreliableHeader,
        rail: RailId,
        queue: &mut impl ReceiveQueue,
    ) -> Result<UnreliableDisposition, UnreliableDrop> {
        if self.state != State::Running {
            return Err(UnreliableDrop::NotRunning);
        }
        if segment.src_qpn != self.config.remote_qpn {
            return Err(UnreliableDrop::Bogus);
        }
        self.established.reach();
        // A rail delivers one after the other: another one has to wait. A completion that is not polled could not be kept
        // beside the next one.
        if self.placing.is_some() || self.completion.is_some() {
            return Err(UnreliableDrop::Overtaken);
        }
        // Over one rail they come as they were sent. A sender that begins anew may number them as it likes (IBTA 9.8.2.2).
        if self.rail.is_some_and(|last| last != rail) && segment.psn.is_before(self.expected) {
            return Err(UnreliableDrop::Overtaken);
        }
        self.rail = Some(rail);
        let is_in_sequence = segment.psn == self.expected;
        self.expected = segment.psn.next();
        if segment.is_first() {
            self.begin(segment)?;
        } else if !is_in_sequence || !self.continues(segment) {
            self.break_off();
            return Err(UnreliableDrop::Orphan);
        }
        let placement = self.place(segment, queue);
        if placement.is_err() {
            self.open = None;
        }
        placement
    }

    /// A message begins. If another one has not come to its end, that one is dropped.
    fn begin(&mut self, segment: &UnreliableHeader) -> Result<(), UnreliableDrop> {
        self.break_off();
        if segment.extent.offset() != 0 || (segment.extent.is_empty() && !segment.is_last()) {
            return Err(UnreliableDrop::Bogus);
        }
        self.open = Some(OpenMessage {
            opcode: segment.operation.opcode(),
            received: 0,
        });
        Ok(())
    }

    /// Whether the segment is the next one of the open message.
    fn continues(&self, segment: &UnreliableHeader) -> bool {
        self.open.is_some_and(|open| {
            open.opcode == segment.operation.opcode()
                && open.received == segment.extent.offset()
                && !segment.extent.is_empty()
        })
    }

    /// The open message is dropped, if there is one.
    fn break_off(&mut self) {
        if self.open.take().is_some() {
            self.counters.broken_messages += 1;
        }
    }

    /// Says where a segment of the open message goes.
    fn place(
        &mut self,
        segment: &UnreliableHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Result<UnreliableDisposition, UnreliableDrop> {
        let len = segment.extent.len();
        let token = PlacementToken {
            epoch: self.epoch,
            psn: segment.psn,
        };
        let disposition = match segment.operation {
            UnreliableOperation::Send { .. } => {
                let receive = self.receive(queue)?;
                if segment.extent.end() > receive.length {
                    return Err(UnreliableDrop::Refused);
                }
                UnreliableDisposition::Receive {
                    slot: receive.slot,
                    offset: segment.extent.offset(),
                    len,
                    token,
                }
            }
            UnreliableOperation::Write { imm, va, rkey } => {
                if va.checked_add(len.into()).is_none() {
                    return Err(UnreliableDrop::Refused);
                }
                if imm.is_some() && segment.is_last() {
                    self.receive(queue)?;
                }
                UnreliableDisposition::Write {
                    va,
                    rkey,
                    len,
                    token,
                }
            }
        };
        if len == 0 {
            self.advance(segment);
            return Ok(UnreliableDisposition::NoPayload);
        }
        self.placing = Some(*segment);
        Ok(disposition)
    }

    /// The receive for the open message.
    fn receive(&mut self, queue: &mut impl ReceiveQueue) -> Result<Receive, UnreliableDrop> {
        let receive = match self.receive {
            Some(receive) => receive,
            None => queue.take().ok_or(UnreliableDrop::NoReceive)?,
        };
        self.receive = Some(receive);
        match receive.soundness {
            Soundness::Sound => Ok(receive),
            Soundness::Broken(status) => {
                self.fail(status);
                Err(UnreliableDrop::NotRunning)
            }
        }
    }

    /// A segment of the open message is in memory.
    fn advance(&mut self, segment: &UnreliableHeader) {
        let byte_len = segment.extent.end();
        if !segment.is_last() {
            if let Some(open) = &mut self.open {
                open.received = byte_len;
            }
            return;
        }
        self.open = None;
        let opcode = segment.operation.opcode();
        if !opcode.consumes_receive() {
            return;
        }
        // It was taken before the segment was.
        let Some(receive) = self.receive.take() else {
            return;
        };
        self.completion = Some(ReceiveCompletion {
            opcode,
            byte_len,
            imm: segment.operation.imm().unwrap_or(0),
            solicited: if segment.flags.contains(SegmentFlags::SOLICITED) {
                Solicitation::Solicited
            } else {
                Solicitation::Unsolicited
            },
            ..completion_of(&receive, CompletionStatus::Success)
        });
    }

    /// The receive of the open message cannot be received into.
    fn fail(&mut self, status: CompletionStatus) {
        self.open = None;
        self.state = State::Failed;
        self.event = Some(QpEvent::ReceiveFailed);
        self.completion = self
            .receive
            .take()
            .map(|receive| completion_of(&receive, status));
    }

    fn count(&mut self, reason: UnreliableDrop) {
        let counters = &mut self.counters;
        match reason {
            UnreliableDrop::NotRunning => {}
            UnreliableDrop::Bogus => counters.bogus += 1,
            UnreliableDrop::Overtaken => counters.overtaken += 1,
            UnreliableDrop::Orphan => counters.orphans += 1,
            UnreliableDrop::NoReceive => counters.no_receive += 1,
            UnreliableDrop::Refused => counters.refused += 1,
        }
    }
}

/// The completion of a receive that no message was received into.
fn completion_of(receive: &Receive, status: CompletionStatus) -> ReceiveCompletion {
    ReceiveCompletion {
        slot: receive.slot,
        wr_id: receive.wr_id,
        opcode: Opcode::Send,
        status,
        byte_len: 0,
        imm: 0,
        rkey: Rkey::default(),
        solicited: Solicitation::Unsolicited,
    }
}
