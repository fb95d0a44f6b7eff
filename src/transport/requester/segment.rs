// SPDX-License-Identifier: GPL-2.0

//! The requester's segments: which one goes next, over which rail, and what comes back lost.

use super::abilities::needed_for;
use super::messages::Executor;
use super::messages::Message;
use super::window::LostCopy;
use super::Fencing;
use super::LocalRange;
use super::Rails;
use super::RequestSegment;
use super::Requester;
use super::SendRequest;
use super::Signalling;
use super::Solicitation;
use crate::transport::admission::Admission;
use crate::transport::frame::DataSegment;
use crate::transport::frame::Extent;
use crate::transport::frame::Operation;
use crate::transport::frame::RequestHeader;
use crate::transport::frame::SegmentFlags;
use crate::transport::frame::SHORT_MESSAGE;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::ids::Instant;
use crate::transport::ids::Psn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::message_number::MessageNumber;
use crate::transport::opcode::Opcode;
use crate::transport::send_state::SendState;
use crate::transport::status::CompletionStatus;
use crate::transport::storage::Storage;

/// So many short messages do not wait for more: they are on their way while a program posts the next. More bring little.
const GROUP: u32 = 8;

/// What can be sent next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Candidate {
    /// A READ accepted by the peer whose answer is missing.
    RepeatRead(MessageNumber),
    /// A segment of the window that must be sent again.
    Resend(Psn),
    /// A segment that is not in the window yet.
    New(MessageNumber),
    /// A segment sent before, to get an acknowledgement that was not asked for then.
    Probe(Psn),
}

impl<S: Storage> Requester<S> {
    /// Whether [`Self::next_segment`] would give something for this rail.
    pub fn has_work(&self, rail: RailId, now: Instant, rails: &impl Rails) -> bool {
        self.candidate(rail, now, rails).is_some()
    }

    /// Whether there is a segment, for whatever rail, now or later.
    pub fn has_segments(&self) -> bool {
        self.messages.next_to_admit().is_some()
            || self.window.first_unsent().is_some()
            || self.read_to_repeat().is_some()
            || self.unrequested().is_some()
    }

    /// Whether the peer owes an acknowledgement.
    pub const fn is_ack_owed(&self) -> bool {
        self.window.is_ack_owed()
    }

    /// Whether what is little by [`Self::has_little`] or short by [`Self::has_short`] may wait: what is posted until then goes with it.
    pub fn has_nothing_urgent(&self) -> bool {
        self.state == SendState::Running
            // An answer may be long.
            && self.reads.outstanding() == 0
            && self.window.first_unsent().is_none()
    }

    /// Whether all that was posted and not sent yet fits one frame of a stream.
    pub fn has_little(&self) -> bool {
        !self.messages.is_admitting() && self.messages.waiting_fit(STREAM_FRAME as u32)
    }

    /// Whether what was posted and not sent yet has a request that is answered, as a READ is.
    pub fn wants_answers(&self) -> bool {
        self.messages.waiting_want_answers()
    }

    /// Whether all that was posted and not sent yet are short messages, and few.
    pub fn has_short(&self) -> bool {
        self.messages.waiting() < GROUP
            && !self.messages.is_admitting()
            && self.messages.waiting_are_within(SHORT_MESSAGE)
    }

    /// The length of the payload that [`Self::next_segment`] would give for this rail; of segments sent
    /// before, the longest it may be.
    pub fn next_segment_len(&self, rail: RailId, now: Instant, rails: &impl Rails) -> Option<u32> {
        match self.candidate(rail, now, rails)? {
            Candidate::RepeatRead(number) => Some(self.messages.at(number).request.carried()),
            Candidate::Resend(_) | Candidate::Probe(_) => Some(self.config.segment.get()),
            Candidate::New(number) => {
                let request = &self.messages.at(number).request;
                let index = self.messages.admitted_segments();
                Some(Extent::of_segment(index, self.config.segment, request.carried()).len())
            }
        }
    }

    /// The next segment to send. The caller sends it as frame `seq` of `rail`.
    pub fn next_segment(
        &mut self,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        rails: &impl Rails,
    ) -> Option<RequestSegment> {
        let mut candidate = self.candidate(rail, now, rails)?;
        if let Some(number) = self.never_going(candidate) {
            self.fail(number, CompletionStatus::LocalQpOperationError);
            candidate = self.candidate(rail, now, rails)?;
        }
        self.recovery.note_used(rail);
        if self.recovery.is_rnr_waiting() || !self.recovery.is_armed() {
            self.recovery.end_rnr_wait();
            self.arm(now);
        }
        match candidate {
            Candidate::RepeatRead(number) => Some(self.repeat_read(number)),
            Candidate::Resend(psn) | Candidate::Probe(psn) => {
                self.counters.repeated_segments += 1;
                self.window.resend(psn, rail, seq);
                Some(self.build(psn, SegmentFlags::REPEAT.with(SegmentFlags::ACK_REQUEST)))
            }
            Candidate::New(number) => {
                let psn = self.admit(number, rail, seq);
                Some(self.build(psn, SegmentFlags::none()))
            }
        }
    }

    /// The frame `seq` of `rail`, which carried this segment, was lost.
    pub fn on_lost(&mut self, psn: Psn, rail: RailId, seq: RailSeq) {
        if !self.window.contains(psn) {
            self.on_lost_read(psn);
            return;
        }
        match self.window.lose(psn, rail, seq) {
            LostCopy::Latest => self.recovery.stripe(),
            LostCopy::Outdated => {}
        }
    }

    fn candidate(&self, rail: RailId, now: Instant, rails: &impl Rails) -> Option<Candidate> {
        match self.state {
            SendState::Running | SendState::Failing(_) => {}
            SendState::Idle | SendState::Flushing => return None,
        }
        if self.recovery.is_held(now) || !self.recovery.allows(rail, rails) {
            return None;
        }
        if let Some(number) = self.read_to_repeat() {
            return Some(Candidate::RepeatRead(number));
        }
        let again = self
            .window
            .first_unsent()
            .map(|psn| (psn, self.window.message_of(psn)))
            // What is to be sent again of a message that fails is not in the way of those before it.
            .filter(|&(_, number)| self.may_send(number));
        if let Some((psn, number)) = again {
            let may_go = !is_ordered(self.messages.at(number))
                || self.window.keeps_order_before(psn, rail, rails);
            return may_go.then_some(Candidate::Resend(psn));
        }
        if let Some(number) = self.admissible(rail, rails) {
            return Some(Candidate::New(number));
        }
        self.unrequested().map(Candidate::Probe)
    }

    /// When no more messages are begun, those that were must get their acknowledgement, even if none
    /// was asked for as more was to come: the last segment that waits without.
    fn unrequested(&self) -> Option<Psn> {
        let end = match self.state {
            SendState::Running if self.admission == Admission::Open => return None,
            SendState::Running if self.messages.is_admitting() => return None,
            SendState::Running => self.window.next(),
            SendState::Failing(failure) => {
                if self.messages.has_begun(failure.message) {
                    self.messages.at(failure.message).first_psn
                } else {
                    self.window.next()
                }
            }
            SendState::Idle | SendState::Flushing => return None,
        };
        self.window.last_unrequested_before(end)
    }

    /// Whether a message is not (behind one that is) known to fail.
    pub(super) fn may_send(&self, number: MessageNumber) -> bool {
        self.state.may_send(number, self.messages.base())
    }

    /// The message whose next segment may enter the window.
    fn admissible(&self, rail: RailId, rails: &impl Rails) -> Option<MessageNumber> {
        let number = self.messages.next_to_admit()?;
        let may_enter = self.may_send(number)
            && !self.window.is_full()
            && (self.messages.is_admitting() || self.may_begin(number, rail, rails));
        may_enter.then_some(number)
    }

    /// Whether the first segment of a message may enter the window.
    fn may_begin(&self, number: MessageNumber, rail: RailId, rails: &impl Rails) -> bool {
        // A local operation holds up what is behind it until it has been carried out.
        if self.admission != Admission::Open || self.is_local(number) {
            return false;
        }
        let message = self.messages.at(number);
        let reads = self.reads.outstanding();
        if message.request.fencing == Fencing::Fenced && reads > 0 {
            return false;
        }
        if self.never_goes(&message.request) {
            // Whoever asks for a segment has it fail.
            true
        } else if message.request.opcode.is_answered() {
            reads < u32::from(self.config.max_rd_atomic)
                && self.reads.has_room_for(self.responses_to(&message.request))
        } else if message.request.opcode == Opcode::SendWithInvalidate {
            // A READ by the key that becomes invalid may not have been answered in full.
            reads == 0
        } else {
            !is_ordered(message) || self.window.keeps_order(rail, rails)
        }
    }

    /// Whether a request would wait for ever: it wants an answer, of which the queue pair allows none, or the peer does not know
    /// it.
    fn never_goes(&self, request: &SendRequest) -> bool {
        (request.opcode.is_answered() && self.config.max_rd_atomic == 0)
            || !self.peer_features.contains(needed_for(request.opcode))
    }

    /// The message that would begin, if it would wait for ever in fact.
    fn never_going(&self, candidate: Candidate) -> Option<MessageNumber> {
        match candidate {
            Candidate::New(number) if !self.messages.is_admitting() => self
                .never_goes(&self.messages.at(number).request)
                .then_some(number),
            Candidate::New(_)
            | Candidate::RepeatRead(_)
            | Candidate::Resend(_)
            | Candidate::Probe(_) => None,
        }
    }

    /// How many responses the answer takes.
    fn responses_to(&self, request: &SendRequest) -> u32 {
        self.config.segment.segments_of(request.answer_len())
    }

    /// Takes the next segment of the message into the window.
    fn admit(&mut self, number: MessageNumber, rail: RailId, seq: RailSeq) -> Psn {
        let begins = !self.messages.is_admitting();
        let psn = self.window.admit(number, rail, seq);
        self.messages.admit_segment(psn, self.config.segment);
        let request = &self.messages.at(number).request;
        if begins && request.opcode.is_answered() {
            let responses = self.responses_to(request);
            self.reads.push(number, psn, responses);
        }
        psn
    }

    /// Makes the header of a segment in the window.
    fn build(&mut self, psn: Psn, extra: SegmentFlags) -> RequestSegment {
        let number = self.window.message_of(psn);
        let message = *self.messages.at(number);
        let request = &message.request;
        if request.opcode.is_answered() {
            return self.build_read(psn, number, extra);
        }
        let flags = self.flags(psn, number, &message, extra);
        let index = psn.distance_from(message.first_psn);
        let data = DataSegment {
            rsn: message.rsn,
            extent: Extent::of_segment(index, self.config.segment, request.length),
        };
        let imm = request.opcode.has_imm().then_some(request.imm);
        RequestSegment {
            header: RequestHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                psn,
                flags,
                operation: if request.opcode == Opcode::SendWithInvalidate {
                    Operation::SendWithInvalidate {
                        data,
                        rkey: request.rkey,
                        response_psn: self.reads.base(),
                    }
                } else if request.opcode.names_memory() {
                    Operation::Write {
                        data,
                        imm,
                        va: request.remote_va.wrapping_add(data.extent.offset().into()),
                        rkey: request.rkey,
                    }
                } else {
                    Operation::Send {
                        data,
                        imm,
                        response_psn: Some(self.reads.base()),
                    }
                },
            },
            source: LocalRange {
                slot: self.messages.slot_of(number),
                offset: data.extent.offset(),
                len: data.extent.len(),
            },
            operands: None,
        }
    }

    /// The flags of a segment, and `extra`. Counts it towards the next request of an acknowledgement.
    fn flags(
        &mut self,
        psn: Psn,
        number: MessageNumber,
        message: &Message,
        extra: SegmentFlags,
    ) -> SegmentFlags {
        let is_last = psn == message.last_psn();
        let mut flags = extra;
        if psn == message.first_psn {
            flags = flags.with(SegmentFlags::FIRST);
        }
        if is_last {
            flags = flags.with(SegmentFlags::LAST);
        }
        if message.request.solicitation == Solicitation::Solicited {
            flags = flags.with(SegmentFlags::SOLICITED);
        }
        if is_ordered(message) {
            flags = flags.with(SegmentFlags::ORDERED);
        }
        self.window.count_towards_ack_request();
        let is_requested = flags.contains(SegmentFlags::ACK_REQUEST)
            || (is_last && self.is_awaited(psn, number, message))
            || self.window.needs_ack();
        if is_requested {
            self.window.note_ack_request(psn);
            flags = flags.with(SegmentFlags::ACK_REQUEST);
        }
        flags
    }

    /// Whether the acknowledgement of a message is waited for: by its user, or by what follows before it can be sent.
    fn is_awaited(&self, psn: Psn, number: MessageNumber, message: &Message) -> bool {
        message.request.signalling == Signalling::Signalled
            || self
                .messages
                .follower(number)
                .is_none_or(|next| match next.executor {
                    Executor::Peer => is_ordered(next) && !self.window.is_all_on_rail_of(psn),
                    // It waits for all before it, or its completion does.
                    Executor::Host(..) => true,
                })
    }
}

/// Whether a message is placed in order with all before it: small WRITEs are, as applications poll memory for them.
fn is_ordered(message: &Message) -> bool {
    // No segment size is smaller than that.
    message.request.opcode == Opcode::Write && message.request.length <= SMALL_PAYLOAD
}
