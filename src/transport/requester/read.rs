// SPDX-License-Identifier: GPL-2.0

//! The requester's READs: their requests, the answers, and where the data goes.
//!
//! Responses count in a space of their own. As both ends know the order and the lengths of the READs,
//! the number of a response tells which READ it belongs to and which part it is.

use super::super::bitmap::PsnSet;
use super::super::frame::RequestHeader;
use super::super::frame::ResponseHeader;
use super::super::frame::SegmentFlags;
use super::super::ids::Epoch;
use super::super::ids::Instant;
use super::super::ids::Psn;
use super::super::ids::Rsn;
use super::super::outcome::Outcome;
use super::super::status::CompletionStatus;
use super::super::storage::Storage;
use super::segments_of;
use super::LocalRange;
use super::RequestSegment;
use super::Requester;
use super::State;

/// Share of the window of responses after which an acknowledgement is due.
const ACK_SHARE: u32 = 4;

/// Responses that all READs outstanding may take together: numbers can be compared only within half of
/// their circle.
pub(in super::super) const MAX_RESPONSES: u32 = Psn::HALF - 1;

/// Entry of the table of READs outstanding.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSlot {
    /// Running number of its message.
    message: u32,
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

/// Receiving state of the space of responses.
#[derive(Debug)]
pub(super) struct Responses {
    /// All before are placed.
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
    /// Running numbers of READs outstanding: oldest, and the one after the newest.
    oldest: u32,
    newest: u32,
    /// Whether the answer of the oldest must be asked for again.
    reread_due: bool,
}

impl Responses {
    pub(super) fn new(initial: Psn, window: u32) -> Self {
        Self {
            base: initial,
            end: initial,
            window,
            placed: PsnSet::new(window),
            placing: PsnSet::new(window),
            repeated: PsnSet::new(window),
            ack_due: false,
            since_ack: 0,
            oldest: 0,
            newest: 0,
            reread_due: false,
        }
    }

    pub(super) const fn is_placing(&self) -> bool {
        !self.placing.is_empty()
    }
}

impl<S: Storage> Requester<S> {
    /// A segment of an answer has arrived.
    pub fn on_response(&mut self, response: &ResponseHeader, now: Instant) -> ResponseDisposition {
        match self.state {
            State::Running | State::Failing(_) => {}
            State::Idle | State::Flushing => {
                return ResponseDisposition::Ignore(ResponseIgnored::Unexpected);
            }
        }
        let psn = response.response_psn;
        if response.src_qpn != self.config.remote_qpn {
            return self.unexpected();
        }
        if psn.is_before(self.responses.base) {
            self.responses.ack_due = true;
            return ResponseDisposition::Ignore(ResponseIgnored::Duplicate);
        }
        let ahead = psn.distance_from(self.responses.base);
        let claimed = self.responses.end.distance_from(self.responses.base);
        if ahead >= self.responses.window || ahead >= claimed {
            return self.unexpected();
        }
        let Some(number) = self.read_of(psn) else {
            return self.unexpected();
        };
        let read = *self.reads.at(number);
        if !self.may_send(read.message) {
            return ResponseDisposition::Ignore(ResponseIgnored::Unexpected);
        }
        let request = self.messages.at(read.message).request;
        let index = psn.distance_from(read.first_response);
        let offset = index.saturating_mul(self.config.segment);
        let len = request
            .length
            .saturating_sub(offset)
            .min(self.config.segment);
        if response.request_psn != read.request_psn
            || response.offset != offset
            || response.payload_len != len
        {
            return self.unexpected();
        }
        if self.responses.placed.contains(psn) {
            return ResponseDisposition::Ignore(ResponseIgnored::Duplicate);
        }
        if self.responses.placing.contains(psn) {
            self.responses.repeated.insert(psn);
            return ResponseDisposition::Ignore(ResponseIgnored::Duplicate);
        }
        // An answer shows that the request, and all before it, have been processed.
        self.acknowledge_up_to(read.request_psn.next(), now);
        self.responses.placing.insert(psn);
        let token = ResponseToken {
            epoch: self.epoch,
            psn,
        };
        if len == 0 {
            self.commit_response(token, Outcome::Placed, now);
            return ResponseDisposition::Empty;
        }
        ResponseDisposition::Place(ResponsePlacement {
            target: LocalRange {
                slot: self.slot_of(read.message),
                offset,
                len,
            },
            token,
        })
    }

    /// What became of the data of a response.
    pub fn commit_response(&mut self, token: ResponseToken, outcome: Outcome, now: Instant) {
        let psn = token.psn;
        if token.epoch != self.epoch || !self.responses.placing.remove(psn) {
            return;
        }
        let was_repeated = self.responses.repeated.remove(psn);
        let Some(number) = self.read_of(psn) else {
            return;
        };
        match outcome {
            Outcome::Placed => {
                self.responses.placed.insert(psn);
                let read = self.reads.at_mut(number);
                read.missing = read.missing.saturating_sub(1);
                if read.missing == 0 {
                    let message = read.message;
                    self.messages.at_mut(message).answered = true;
                    self.responses.ack_due = true;
                }
                self.advance_responses();
                self.note_progress(now);
            }
            Outcome::Aborted => {
                // The sender repeats what was lost; but it may have done so already, and its copy was
                // dropped.
                if was_repeated {
                    self.responses.reread_due = true;
                }
            }
            Outcome::Denied(_) => {
                let message = self.reads.at(number).message;
                self.fail(message, CompletionStatus::LocalProtectionError);
            }
        }
    }

    /// Whether the peer should be told which responses have been placed.
    pub const fn response_ack_due(&self) -> bool {
        self.responses.ack_due
    }

    /// All responses before this one have been placed; telling it to the peer is no longer due.
    pub fn take_response_ack(&mut self) -> Psn {
        self.responses.ack_due = false;
        self.responses.since_ack = 0;
        self.responses.base
    }

    /// READs sent and not complete.
    pub(super) const fn reads_outstanding(&self) -> u32 {
        self.responses.newest.wrapping_sub(self.responses.oldest)
    }

    /// Whether the answer to a READ of this length can be numbered.
    pub(super) fn has_numbers_for(&self, length: u32) -> bool {
        let claimed = self.responses.end.distance_from(self.responses.base);
        claimed + segments_of(length, self.config.segment) <= MAX_RESPONSES
    }

    /// The message of the oldest READ outstanding and the PSN of its request.
    pub(super) fn oldest_read(&self) -> Option<(u32, Psn)> {
        (self.reads_outstanding() > 0).then(|| {
            let read = self.reads.at(self.responses.oldest);
            (read.message, read.request_psn)
        })
    }

    /// A READ enters the window.
    pub(super) fn issue_read(&mut self, message: u32, psn: Psn, length: u32) {
        let responses = segments_of(length, self.config.segment);
        let number = self.responses.newest;
        *self.reads.at_mut(number) = ReadSlot {
            message,
            request_psn: psn,
            first_response: self.responses.end,
            responses,
            missing: responses,
        };
        self.responses.end = self.responses.end.add(responses);
        self.responses.newest = number.wrapping_add(1);
    }

    /// Header of a READ.
    pub(super) fn build_read(
        &mut self,
        psn: Psn,
        message: u32,
        extra: SegmentFlags,
    ) -> RequestSegment {
        let request = self.messages.at(message).request;
        // The answer acknowledges the request and all before it.
        self.note_ack_request(psn);
        RequestSegment {
            header: RequestHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                psn,
                opcode: request.opcode,
                flags: extra.with(SegmentFlags::FIRST).with(SegmentFlags::LAST),
                rsn: Rsn(0),
                rkey: request.rkey,
                va: request.remote_va,
                offset: request.length,
                imm: self.config.segment,
                response_psn: self.responses.base,
                payload_len: 0,
            },
            source: LocalRange {
                slot: self.slot_of(message),
                offset: 0,
                len: 0,
            },
        }
    }

    /// The READ whose request must be repeated though it was acknowledged, as its answer is missing.
    pub(super) fn due_reread(&self) -> Option<u32> {
        let (message, psn) = self.oldest_read()?;
        let was_acked = psn.distance_from(self.una) >= self.next.distance_from(self.una);
        (self.responses.reread_due && was_acked).then_some(message)
    }

    /// The request of the oldest READ, to be repeated.
    pub(super) fn reread(&mut self, message: u32) -> RequestSegment {
        self.responses.reread_due = false;
        self.counters.repeated_segments += 1;
        let psn = self.messages.at(message).first_psn;
        self.build_read(
            psn,
            message,
            SegmentFlags::REPEAT.with(SegmentFlags::ACK_REQUEST),
        )
    }

    /// Asks for the answer of the oldest READ again.
    pub(super) fn demand_responses(&mut self) {
        self.responses.reread_due = self.reads_outstanding() > 0;
    }

    /// A request outside the window was lost: if it was for the oldest READ, repeat it.
    pub(super) fn reread_lost(&mut self, psn: Psn) {
        if self.oldest_read().is_some_and(|(_, oldest)| oldest == psn) {
            self.responses.reread_due = true;
        }
    }

    fn unexpected(&mut self) -> ResponseDisposition {
        self.counters.bogus += 1;
        ResponseDisposition::Ignore(ResponseIgnored::Unexpected)
    }

    /// The READ a response number belongs to. READs outstanding are few, and most often it is the
    /// oldest.
    fn read_of(&self, psn: Psn) -> Option<u32> {
        let mut number = self.responses.oldest;
        while number != self.responses.newest {
            let read = self.reads.at(number);
            if psn.distance_from(read.first_response) < read.responses {
                return Some(number);
            }
            number = number.wrapping_add(1);
        }
        None
    }

    fn advance_responses(&mut self) {
        while self.responses.placed.remove(self.responses.base) {
            self.responses.base = self.responses.base.next();
            self.responses.since_ack += 1;
        }
        // The peer has no more outstanding than we have: that is what was agreed.
        if self.responses.since_ack >= self.window.div_ceil(ACK_SHARE) {
            self.responses.ack_due = true;
        }
        while self.reads_outstanding() > 0 && self.reads.at(self.responses.oldest).missing == 0 {
            self.responses.oldest = self.responses.oldest.wrapping_add(1);
            self.responses.reread_due = false;
        }
    }
}
