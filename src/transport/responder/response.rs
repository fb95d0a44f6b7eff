// SPDX-License-Identifier: GPL-2.0

//! Answers: the responder is their sender, with a window of its own. Most are to READs; "READ" stands here for whatever is
//! answered.

use super::processing::event_of;
use super::response_set;
use super::Fault;
use super::FaultyReceive;
use super::Responder;
use super::State;
use crate::transport::attempt::Attempt;
use crate::transport::bitmap::PsnSet;
use crate::transport::frame::Action;
use crate::transport::frame::Extent;
use crate::transport::frame::ReadRequest;
use crate::transport::frame::ResponseHeader;
use crate::transport::frame::SegmentSize;
use crate::transport::frame::Syndrome;
use crate::transport::ids::Psn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::ids::Rkey;
use crate::transport::requester::MAX_RESPONSES;
use crate::transport::status::NakCode;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// A READ being answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedRead {
    request_psn: Psn,
    source: Source,
    length: u32,
    segment: SegmentSize,
    first_response: Psn,
    responses: u32,
}

/// What is answered with.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// What is in memory from this address on, when the answer is sent.
    Memory { va: u64, rkey: Rkey },
    /// This value, whenever the answer is sent.
    Value(u64),
}

impl Default for Source {
    fn default() -> Self {
        Self::Value(0)
    }
}

impl Source {
    /// Where a piece of the answer is.
    const fn piece(self, extent: Extent) -> ResponseSource {
        match self {
            Self::Memory { va, rkey } => ResponseSource::Memory(RemoteRange {
                va: va.wrapping_add(extent.offset() as u64),
                rkey,
                len: extent.len(),
            }),
            Self::Value(value) => ResponseSource::Value(value),
        }
    }
}

impl ServedRead {
    /// Which piece of the data a response brings.
    const fn extent_of(&self, psn: Psn) -> Extent {
        let index = psn.distance_from(self.first_response);
        Extent::of_segment(index, self.segment, self.length)
    }
}

/// Entry of the table of responses in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseSlot {
    /// Running number of its READ.
    read: u32,
    seq: RailSeq,
    rail: RailId,
    in_flight: bool,
}

/// Memory a response is taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RemoteRange {
    /// Address of the first byte; `va + len` does not overflow.
    pub va: u64,
    /// Key it is accessed by.
    pub rkey: Rkey,
    /// How many bytes.
    pub len: u32,
}

/// Where the payload of a response is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseSource {
    /// In memory. If the key does not allow a remote read there (any more), call [`Responder::fail_response`] instead of sending.
    Memory(RemoteRange),
    /// It is this value, in little-endian order, or nothing, as the header says.
    Value(u64),
}

/// A response to send: its header and where its payload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseSegment {
    /// The header's part.
    pub header: ResponseHeader,
    /// The payload.
    pub source: ResponseSource,
    /// Whether it was sent before.
    pub attempt: Attempt,
}

/// The peer has more READs outstanding than agreed, or longer ones than can be numbered.
pub(super) struct TooManyReads;

/// Sending state of the space of responses.
///
/// # Invariants
///
/// READs `oldest..newest` are in `reads`; responses `una..next` are in the window, each with a slot,
/// `end` is the first number no READ has claimed; `sending` is the READ that `next` belongs to.
pub(super) struct Served<S: Storage> {
    reads: Ring<S, ServedRead>,
    slots: Ring<S, ResponseSlot>,
    oldest: u32,
    sending: u32,
    newest: u32,
    una: Psn,
    next: Psn,
    end: Psn,
    /// Nothing from this number on is sent.
    limit: Option<Psn>,
    window: u32,
    resend: PsnSet,
}

impl<S: Storage> Served<S> {
    pub(super) fn new(reads: Ring<S, ServedRead>, slots: Ring<S, ResponseSlot>) -> Self {
        Self {
            reads,
            slots,
            oldest: 0,
            sending: 0,
            newest: 0,
            una: Psn::new(0),
            next: Psn::new(0),
            end: Psn::new(0),
            limit: None,
            window: 1,
            resend: response_set(1),
        }
    }

    pub(super) fn window_limit(&self) -> u32 {
        self.slots.len()
    }

    pub(super) fn start(&mut self, initial: Psn, window: u32) {
        self.oldest = 0;
        self.sending = 0;
        self.newest = 0;
        self.una = initial;
        self.next = initial;
        self.end = initial;
        self.limit = None;
        self.window = window;
        self.resend = response_set(window);
    }

    /// From now on at most so many are outstanding. More may be at present.
    pub(super) fn shrink_window(&mut self, window: u32) {
        self.window = window.clamp(1, self.window);
    }

    /// Sends no more.
    pub(super) fn stop(&mut self) {
        self.limit = Some(self.una);
    }

    /// First response number no READ has claimed.
    pub(super) const fn end(&self) -> Psn {
        self.end
    }

    /// Whether all responses before `psn` have been acknowledged.
    pub(super) const fn has_delivered(&self, psn: Psn) -> bool {
        !self.una.is_before(psn)
    }

    /// Whether a READ with so many responses can be taken on: not if `limit` are being answered.
    pub(super) fn has_room(&self, responses: u32, limit: u32) -> bool {
        let outstanding = self.newest.wrapping_sub(self.oldest);
        outstanding < limit
            && outstanding < self.reads.len()
            && self.end.distance_from(self.una) + responses <= MAX_RESPONSES
    }

    /// Takes on the READ with this PSN, unless `limit` are being answered.
    pub(super) fn accept(
        &mut self,
        request_psn: Psn,
        read: &ReadRequest,
        limit: u32,
    ) -> Result<(), TooManyReads> {
        let responses = read.segment.segments_of(read.length);
        if !self.has_room(responses, limit) {
            return Err(TooManyReads);
        }
        self.push(ServedRead {
            request_psn,
            source: Source::Memory {
                va: read.va,
                rkey: read.rkey,
            },
            length: read.length,
            segment: read.segment,
            first_response: self.end,
            responses,
        });
        Ok(())
    }

    /// The request with this PSN, for which there is room, has been carried out; what it asks for was `before`.
    pub(super) fn accept_executed(&mut self, request_psn: Psn, action: Action, before: u64) {
        self.push(ServedRead {
            request_psn,
            source: Source::Value(before),
            length: action.answer_len(),
            segment: SegmentSize::SMALLEST,
            first_response: self.end,
            responses: 1,
        });
    }

    fn push(&mut self, read: ServedRead) {
        self.end = self.end.add(read.responses);
        *self.reads.at_mut(self.newest) = read;
        self.newest = self.newest.wrapping_add(1);
    }

    fn is_within_limit(&self, psn: Psn) -> bool {
        match self.limit {
            None => true,
            Some(limit) => psn.is_before(limit),
        }
    }

    /// The response to send next.
    fn candidate(&self) -> Option<Psn> {
        let psn = match self.resend.first_from(self.una) {
            Some(psn) => psn,
            None if self.next != self.end && self.next.distance_from(self.una) < self.window => {
                self.next
            }
            None => return None,
        };
        self.is_within_limit(psn).then_some(psn)
    }

    /// Takes the response at `next` into the window.
    fn admit(&mut self) {
        let psn = self.next;
        *self.slots.at_mut(psn.get()) = ResponseSlot {
            read: self.sending,
            ..ResponseSlot::default()
        };
        let read = self.reads.at(self.sending);
        if psn.distance_from(read.first_response) + 1 >= read.responses {
            self.sending = self.sending.wrapping_add(1);
        }
        self.next = psn.next();
    }

    fn is_in_window(&self, psn: Psn) -> bool {
        psn.distance_from(self.una) < self.next.distance_from(self.una)
    }

    fn acknowledge(&mut self, psn: Psn) {
        if psn.distance_from(self.una) > self.next.distance_from(self.una) {
            // Old, or of responses that were never sent.
            return;
        }
        while self.una != psn {
            self.resend.remove(self.una);
            self.una = self.una.next();
        }
        while self.oldest != self.sending {
            let read = self.reads.at(self.oldest);
            if self.una.is_before(read.first_response.add(read.responses)) {
                return;
            }
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    /// Everything in flight for this READ and those after it is to be sent again.
    fn repeat_from(&mut self, request_psn: Psn) {
        let mut number = self.oldest;
        while number != self.newest && self.reads.at(number).request_psn != request_psn {
            number = number.wrapping_add(1);
        }
        if number == self.newest {
            return;
        }
        let first = self.reads.at(number).first_response;
        let mut psn = if first.is_before(self.una) {
            self.una
        } else {
            first
        };
        while self.is_in_window(psn) {
            self.slots.at_mut(psn.get()).in_flight = false;
            self.resend.insert(psn);
            psn = psn.next();
        }
    }
}

impl<S: Storage> Responder<S> {
    /// Whether [`Self::next_response`] would give something.
    pub fn has_response(&self) -> bool {
        match self.state {
            State::Running | State::Failing(_) => self.served.candidate().is_some(),
            State::Idle | State::Failed => false,
        }
    }

    /// The length of the payload that [`Self::next_response`] would give.
    pub fn next_response_len(&self) -> Option<u32> {
        if !self.has_response() {
            return None;
        }
        let psn = self.served.candidate()?;
        let number = if psn == self.served.next {
            self.served.sending
        } else {
            self.served.slots.at(psn.get()).read
        };
        Some(self.served.reads.at(number).extent_of(psn).len())
    }

    /// The next response to send. The caller sends it as frame `seq` of `rail`.
    pub fn next_response(&mut self, rail: RailId, seq: RailSeq) -> Option<ResponseSegment> {
        match self.state {
            State::Running | State::Failing(_) => {}
            State::Idle | State::Failed => return None,
        }
        let psn = self.served.candidate()?;
        let attempt = if psn == self.served.next {
            self.served.admit();
            Attempt::First
        } else {
            self.served.resend.remove(psn);
            self.counters.repeated_responses += 1;
            Attempt::Again
        };
        let slot = self.served.slots.at_mut(psn.get());
        slot.rail = rail;
        slot.seq = seq;
        slot.in_flight = true;
        let read = *self.served.reads.at(slot.read);
        let extent = read.extent_of(psn);
        Some(ResponseSegment {
            header: ResponseHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                response_psn: psn,
                request_psn: read.request_psn,
                extent,
            },
            source: read.source.piece(extent),
            attempt,
        })
    }

    /// The frame `seq` of `rail`, which carried this response, was lost.
    pub fn on_lost_response(&mut self, psn: Psn, rail: RailId, seq: RailSeq) {
        if !self.served.is_in_window(psn) {
            return;
        }
        let slot = self.served.slots.at_mut(psn.get());
        if slot.in_flight && slot.rail == rail && slot.seq == seq {
            slot.in_flight = false;
            self.served.resend.insert(psn);
        }
    }

    /// The peer has placed all responses before `psn`.
    pub fn on_response_ack(&mut self, psn: Psn) {
        match self.state {
            State::Running | State::Failing(_) => {
                self.served.acknowledge(psn);
                self.settle_fault();
            }
            State::Idle | State::Failed => {}
        }
    }

    /// The memory of the response with this number may not be read (any more): its READ fails, and
    /// the queue pair with it, once the answers before it have been delivered.
    pub fn fail_response(&mut self, psn: Psn, code: NakCode) {
        if !self.served.is_in_window(psn) {
            return;
        }
        let number = self.served.slots.at(psn.get()).read;
        let read = *self.served.reads.at(number);
        if self.served.is_within_limit(read.first_response) {
            self.served.limit = Some(read.first_response);
        }
        self.note_fault(Fault {
            syndrome: Syndrome::ReadNak {
                psn: read.request_psn,
                code,
            },
            event: event_of(code),
            responses_until: read.first_response,
            receive: FaultyReceive::Flushed,
        });
    }

    pub(super) fn repeat_responses(&mut self, request_psn: Psn) {
        self.served.repeat_from(request_psn);
    }
}
