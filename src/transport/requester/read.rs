// SPDX-License-Identifier: GPL-2.0

//! What the requester asks answers for: the requests, the responses, and where the data goes. READs do most of it; an atomic
//! operation is answered with what the word was before, ATOMIC WRITE and FLUSH with nothing but a response. "READ" stands for
//! all of them here.
//!
//! Responses count in a space of their own. As both ends know the order and the lengths of the READs,
//! the number of a response tells which READ it belongs to and which part it is.

use super::LocalRange;
use super::RequestSegment;
use super::Requester;
use crate::transport::bitmap::PsnSet;
use crate::transport::frame::ExecuteRequest;
use crate::transport::frame::Extent;
use crate::transport::frame::Operation;
use crate::transport::frame::ReadRequest;
use crate::transport::frame::RequestHeader;
use crate::transport::frame::ResponseHeader;
use crate::transport::frame::SegmentFlags;
use crate::transport::ids::Epoch;
use crate::transport::ids::Instant;
use crate::transport::ids::Psn;
use crate::transport::message_number::MessageNumber;
use crate::transport::outcome::Outcome;
use crate::transport::send_state::SendState;
use crate::transport::status::CompletionStatus;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// Share of the window of responses after which an acknowledgement is due.
const ACK_SHARE: u32 = 4;

/// Responses that all READs outstanding may take together: numbers can be compared only within half of
/// their circle.
pub(in crate::transport) const MAX_RESPONSES: u32 = Psn::HALF - 1;

/// Entry of the table of READs outstanding.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSlot {
    message: MessageNumber,
    request_psn: Psn,
    first_response: Psn,
    /// Responses it takes, and how many of them are missing.
    responses: u32,
    missing: u32,
}

/// Identifies a response whose data is being placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseToken {
    epoch: Epoch,
    psn: Psn,
}

/// Where the data of a response goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponsePlacement {
    /// Piece of the local buffers of the READ.
    pub target: LocalRange,
    /// To be given back with the outcome.
    pub token: ResponseToken,
}

/// Why a response is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseIgnored {
    /// It has been placed, or is being placed.
    Duplicate,
    /// No READ is waiting for it.
    Unexpected,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseDisposition {
    /// Place its payload, then call [`Requester::commit_response`].
    Place(ResponsePlacement),
    /// It has none: nothing left to do.
    Empty,
    /// Drop it.
    Ignore(ResponseIgnored),
}

/// Why no READ is waiting for a response with a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NotAwaited {
    /// It has been placed, and all before it.
    Placed,
    /// No READ has claimed it, or it is beyond the window.
    Unclaimed,
}

/// A response is placed, or being placed.
struct Duplicate;

/// READs outstanding, and the window of their responses.
///
/// # Invariants
///
/// READs `oldest..newest` are in `table`. Responses `base..end` belong to them; `placed` and `placing` are some of these,
/// `repeated` some of `placing`.
pub(super) struct Reads<S: Storage> {
    table: Ring<S, ReadSlot>,
    /// Running numbers of READs outstanding: oldest, and the one after the newest.
    oldest: u32,
    newest: u32,
    /// All responses before this one are placed.
    base: Psn,
    /// First number no READ has claimed.
    end: Psn,
    window: u32,
    placed: PsnSet,
    placing: PsnSet,
    /// Those being placed of which another copy was dropped meanwhile.
    repeated: PsnSet,
    ack_due: bool,
    since_ack: u32,
    /// Whether the responses of the oldest must be requested again.
    repeat_due: bool,
}

impl<S: Storage> Reads<S> {
    pub(super) fn new(table: Ring<S, ReadSlot>) -> Self {
        Self {
            table,
            oldest: 0,
            newest: 0,
            base: Psn::new(0),
            end: Psn::new(0),
            window: 1,
            placed: PsnSet::new(1),
            placing: PsnSet::new(1),
            repeated: PsnSet::new(1),
            ack_due: false,
            since_ack: 0,
            repeat_due: false,
        }
    }

    /// Begins anew: no READ is outstanding, the first response will be `initial`.
    pub(super) fn start(&mut self, initial: Psn, window: u32) {
        self.oldest = 0;
        self.newest = 0;
        self.base = initial;
        self.end = initial;
        self.window = window;
        self.placed = PsnSet::new(window);
        self.placing = PsnSet::new(window);
        self.repeated = PsnSet::new(window);
        self.ack_due = false;
        self.since_ack = 0;
        self.repeat_due = false;
    }

    /// All responses before this one are placed.
    pub(super) const fn base(&self) -> Psn {
        self.base
    }

    /// READs sent and not complete.
    pub(super) const fn outstanding(&self) -> u32 {
        self.newest.wrapping_sub(self.oldest)
    }

    /// Whether a READ that takes so many responses can be noted, and its responses numbered.
    pub(super) fn has_room_for(&self, responses: u32) -> bool {
        self.outstanding() < self.table.len() && self.claimed() + responses <= MAX_RESPONSES
    }

    /// Whether data is being placed into the buffers of any READ.
    pub(super) const fn is_placing(&self) -> bool {
        !self.placing.is_empty()
    }

    /// A READ enters the window of requests.
    pub(super) fn push(&mut self, message: MessageNumber, request_psn: Psn, responses: u32) {
        let number = self.newest;
        *self.table.at_mut(number) = ReadSlot {
            message,
            request_psn,
            first_response: self.end,
            responses,
            missing: responses,
        };
        self.end = self.end.add(responses);
        self.newest = number.wrapping_add(1);
    }

    /// The message of the oldest READ outstanding and the PSN of its request.
    pub(super) fn oldest(&self) -> Option<(MessageNumber, Psn)> {
        (self.outstanding() > 0).then(|| {
            let read = self.table.at(self.oldest);
            (read.message, read.request_psn)
        })
    }

    /// The READ whose responses must be requested again, and the PSN of its request.
    pub(super) fn repeat_due(&self) -> Option<(MessageNumber, Psn)> {
        self.oldest().filter(|_| self.repeat_due)
    }

    /// The responses of the oldest READ must be requested again.
    pub(super) fn request_again(&mut self) {
        self.repeat_due = self.outstanding() > 0;
    }

    /// The responses of the oldest READ have been requested again.
    fn note_requested_again(&mut self) {
        self.repeat_due = false;
    }

    /// Responses that READs have claimed and that are not all placed.
    const fn claimed(&self) -> u32 {
        self.end.distance_from(self.base)
    }

    /// The running number of the READ that waits for this response.
    fn awaiting(&self, psn: Psn) -> Result<u32, NotAwaited> {
        if psn.is_before(self.base) {
            return Err(NotAwaited::Placed);
        }
        let ahead = psn.distance_from(self.base);
        if ahead >= self.window || ahead >= self.claimed() {
            return Err(NotAwaited::Unclaimed);
        }
        self.read_of(psn).ok_or(NotAwaited::Unclaimed)
    }

    /// The READ a response number belongs to. READs outstanding are few, and most often it is the
    /// oldest.
    fn read_of(&self, psn: Psn) -> Option<u32> {
        let mut number = self.oldest;
        while number != self.newest {
            let read = self.table.at(number);
            if psn.distance_from(read.first_response) < read.responses {
                return Some(number);
            }
            number = number.wrapping_add(1);
        }
        None
    }

    fn begin_placing(&mut self, psn: Psn) -> Result<(), Duplicate> {
        if self.placed.contains(psn) {
            return Err(Duplicate);
        }
        if self.placing.contains(psn) {
            self.repeated.insert(psn);
            return Err(Duplicate);
        }
        self.placing.insert(psn);
        Ok(())
    }

    /// The response has been placed. If its READ has all its data now, gives its message.
    fn finish_placing(&mut self, number: u32, psn: Psn) -> Option<MessageNumber> {
        self.placed.insert(psn);
        let read = self.table.at_mut(number);
        read.missing = read.missing.saturating_sub(1);
        if read.missing > 0 {
            return None;
        }
        self.ack_due = true;
        Some(read.message)
    }

    /// Moves on behind what has been placed. `peer_window` is how many responses the peer may have outstanding.
    fn advance(&mut self, peer_window: u32) {
        while self.placed.remove(self.base) {
            self.base = self.base.next();
            self.since_ack += 1;
        }
        if self.since_ack >= peer_window.div_ceil(ACK_SHARE) {
            self.ack_due = true;
        }
        while self.outstanding() > 0 && self.table.at(self.oldest).missing == 0 {
            self.oldest = self.oldest.wrapping_add(1);
            self.repeat_due = false;
        }
    }
}

impl<S: Storage> Requester<S> {
    /// A response has arrived.
    pub fn on_response(&mut self, response: &ResponseHeader, now: Instant) -> ResponseDisposition {
        match self.state {
            SendState::Running | SendState::Failing(_) => {}
            SendState::Idle | SendState::Flushing => {
                return ResponseDisposition::Ignore(ResponseIgnored::Unexpected);
            }
        }
        let psn = response.response_psn;
        if response.src_qpn != self.config.remote_qpn {
            return self.bogus_response();
        }
        let number = match self.reads.awaiting(psn) {
            Ok(number) => number,
            Err(NotAwaited::Placed) => {
                self.reads.ack_due = true;
                return ResponseDisposition::Ignore(ResponseIgnored::Duplicate);
            }
            Err(NotAwaited::Unclaimed) => return self.bogus_response(),
        };
        let read = *self.reads.table.at(number);
        if !self.may_send(read.message) {
            return ResponseDisposition::Ignore(ResponseIgnored::Unexpected);
        }
        let extent = self.extent_of(&read, psn);
        if response.request_psn != read.request_psn || response.extent != extent {
            return self.bogus_response();
        }
        if let Err(Duplicate) = self.reads.begin_placing(psn) {
            return ResponseDisposition::Ignore(ResponseIgnored::Duplicate);
        }
        // A response shows that the request, and all before it, have been processed.
        self.acknowledge_up_to(read.request_psn.next(), now);
        let token = ResponseToken {
            epoch: self.epoch,
            psn,
        };
        if extent.is_empty() {
            self.commit_response(token, Outcome::Placed, now);
            return ResponseDisposition::Empty;
        }
        ResponseDisposition::Place(ResponsePlacement {
            target: LocalRange {
                slot: self.messages.slot_of(read.message),
                offset: extent.offset(),
                len: extent.len(),
            },
            token,
        })
    }

    /// What became of the data of a response.
    pub fn commit_response(&mut self, token: ResponseToken, outcome: Outcome, now: Instant) {
        let psn = token.psn;
        if token.epoch != self.epoch || !self.reads.placing.remove(psn) {
            return;
        }
        let was_repeated = self.reads.repeated.remove(psn);
        let Some(number) = self.reads.read_of(psn) else {
            return;
        };
        match outcome {
            Outcome::Placed => {
                if let Some(message) = self.reads.finish_placing(number, psn) {
                    self.messages.note_answered(message);
                }
                // The peer has no more outstanding than we have: that is what was agreed.
                self.reads.advance(self.window.size());
                self.note_progress(now);
            }
            Outcome::Aborted => {
                // The sender repeats what was lost; but it may have done so already, and its copy was
                // dropped.
                if was_repeated {
                    self.reads.repeat_due = true;
                }
            }
            // The sender's rail does not know of it.
            Outcome::Postponed => self.reads.repeat_due = true,
            Outcome::Denied(_) => {
                let message = self.reads.table.at(number).message;
                self.fail(message, CompletionStatus::LocalProtectionError);
            }
        }
    }

    /// Whether an acknowledgement of responses is due.
    pub const fn response_ack_due(&self) -> bool {
        self.reads.ack_due
    }

    /// All responses before this one have been placed. Their acknowledgement is no longer due.
    pub fn take_response_ack(&mut self) -> Psn {
        self.reads.ack_due = false;
        self.reads.since_ack = 0;
        self.reads.base
    }

    /// A request that is answered.
    pub(super) fn build_read(
        &mut self,
        psn: Psn,
        number: MessageNumber,
        extra: SegmentFlags,
    ) -> RequestSegment {
        let request = self.messages.at(number).request;
        let response_psn = self.reads.base;
        let action = request.action();
        let operation = match action {
            Some(action) => Operation::Execute(ExecuteRequest {
                action,
                va: request.remote_va,
                rkey: request.rkey,
                response_psn,
            }),
            None => Operation::Read(ReadRequest {
                va: request.remote_va,
                rkey: request.rkey,
                length: request.length,
                segment: self.config.segment,
                response_psn,
            }),
        };
        // The answer acknowledges the request and all before it.
        self.window.note_ack_request(psn);
        RequestSegment {
            header: RequestHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                psn,
                flags: extra.with(SegmentFlags::ONLY),
                operation,
            },
            source: LocalRange {
                slot: self.messages.slot_of(number),
                offset: 0,
                len: 0,
            },
            operands: (request.carried() > 0).then_some(request.operands),
        }
    }

    /// The READ whose request must be repeated though it was acknowledged, as responses are missing.
    pub(super) fn read_to_repeat(&self) -> Option<MessageNumber> {
        let (message, psn) = self.reads.repeat_due()?;
        (!self.window.contains(psn)).then_some(message)
    }

    /// The request of the oldest READ, to be repeated.
    pub(super) fn repeat_read(&mut self, number: MessageNumber) -> RequestSegment {
        self.reads.note_requested_again();
        self.counters.repeated_segments += 1;
        let psn = self.messages.at(number).first_psn;
        self.build_read(
            psn,
            number,
            SegmentFlags::REPEAT.with(SegmentFlags::ACK_REQUEST),
        )
    }

    /// A request outside the window was lost: if it was for the oldest READ, repeat it.
    pub(super) fn on_lost_read(&mut self, psn: Psn) {
        if self.reads.oldest().is_some_and(|(_, oldest)| oldest == psn) {
            self.reads.request_again();
        }
    }

    /// Which piece of the READ's data a response brings.
    fn extent_of(&self, read: &ReadSlot, psn: Psn) -> Extent {
        let length = self.messages.at(read.message).request.answer_len();
        let index = psn.distance_from(read.first_response);
        Extent::of_segment(index, self.config.segment, length)
    }

    fn bogus_response(&mut self) -> ResponseDisposition {
        self.counters.bogus += 1;
        ResponseDisposition::Ignore(ResponseIgnored::Unexpected)
    }
}
