// SPDX-License-Identifier: GPL-2.0

//! The requester's segments: which one goes next, over which rail, and what comes back lost.

use super::super::frame::RequestHeader;
use super::super::frame::SegmentFlags;
use super::super::frame::SMALL_PAYLOAD;
use super::super::ids::Instant;
use super::super::ids::Psn;
use super::super::ids::RailId;
use super::super::ids::RailSeq;
use super::super::opcode::Opcode;
use super::super::status::CompletionStatus;
use super::super::storage::Storage;
use super::segments_of;
use super::Admission;
use super::Caution;
use super::Fencing;
use super::LocalRange;
use super::Message;
use super::Rails;
use super::RequestSegment;
use super::Requester;
use super::SegmentSlot;
use super::SegmentState;
use super::Signalling;
use super::Solicitation;
use super::State;

/// Share of the window after which an acknowledgement is asked for.
const ACK_REQUEST_SHARE: u32 = 8;

/// What can be sent next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Candidate {
    /// A READ accepted by the peer whose answer is missing.
    Reread(u32),
    /// A segment of the window that must be sent again.
    Resend(Psn),
    /// A segment that is not in the window yet.
    New,
    /// A segment sent before, to get an acknowledgement that was not asked for then.
    Probe(Psn),
}

impl<S: Storage> Requester<S> {
    /// Whether [`Self::next_segment`] would give something for this rail.
    pub fn has_work(&self, rail: RailId, now: Instant, rails: &impl Rails) -> bool {
        self.candidate(rail, now, rails).is_some()
    }

    /// The length of the payload that [`Self::next_segment`] would give for this rail; of segments sent
    /// before, the longest it may be.
    pub fn next_segment_len(&self, rail: RailId, now: Instant, rails: &impl Rails) -> Option<u32> {
        match self.candidate(rail, now, rails)? {
            Candidate::Reread(_) => Some(0),
            Candidate::Resend(_) | Candidate::Probe(_) => Some(self.config.segment),
            Candidate::New => {
                let request = &self.messages.at(self.admitted).request;
                let sent = self.admitted_segments.saturating_mul(self.config.segment);
                Some(match request.opcode {
                    Opcode::Read => 0,
                    Opcode::Send | Opcode::SendWithImm | Opcode::Write | Opcode::WriteWithImm => {
                        request.length.saturating_sub(sent).min(self.config.segment)
                    }
                })
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
        self.refuse_impossible_read();
        let candidate = self.candidate(rail, now, rails)?;
        match self.caution {
            Caution::None => {}
            Caution::AnyOne | Caution::Only(_) => self.caution = Caution::Only(rail),
        }
        if self.rnr_until.take().is_some() || self.deadline.is_none() {
            self.arm(now);
        }
        match candidate {
            Candidate::Reread(number) => Some(self.reread(number)),
            Candidate::Resend(psn) => {
                self.resend.remove(psn);
                Some(self.repeat(psn, rail, seq))
            }
            Candidate::Probe(psn) => {
                let sent_before = self.segments.at(psn.get()).rail;
                self.count_down(sent_before);
                Some(self.repeat(psn, rail, seq))
            }
            Candidate::New => {
                let psn = self.admit();
                self.mark_sent(psn, rail, seq);
                Some(self.build(psn, SegmentFlags::none()))
            }
        }
    }

    /// The frame `seq` of `rail`, which carried this segment, was lost.
    pub fn on_lost(&mut self, psn: Psn, rail: RailId, seq: RailSeq) {
        if psn.distance_from(self.una) < self.next.distance_from(self.una) {
            let slot = *self.segments.at(psn.get());
            let is_latest =
                slot.state == SegmentState::Sent && slot.rail == rail && slot.seq == seq;
            if is_latest {
                self.unsend(psn);
                self.caution = Caution::None;
            }
        } else {
            self.reread_lost(psn);
        }
    }

    /// Everything not acknowledged must be sent again.
    pub(super) fn rewind(&mut self) {
        // All goes again in order, so any rail will do; the one chosen before may be gone when it would be asked.
        if let Caution::Only(_) = self.caution {
            self.caution = Caution::AnyOne;
        }
        let mut psn = self.una;
        while psn != self.next {
            if self.segments.at(psn.get()).state == SegmentState::Sent {
                self.unsend(psn);
            }
            psn = psn.next();
        }
    }

    /// Something of what was sent without asking for an acknowledgement is to be sent again, and to ask for one: the last.
    pub(super) fn ask(&mut self) {
        let mut psn = self.next;
        while psn != self.una {
            psn = psn.previous();
            if self.segments.at(psn.get()).state == SegmentState::Sent {
                self.unsend(psn);
                return;
            }
        }
    }

    /// A segment is acknowledged and leaves the window.
    pub(super) fn retire(&mut self, psn: Psn) -> SegmentSlot {
        let slot = *self.segments.at(psn.get());
        match slot.state {
            SegmentState::Sent => self.count_down(slot.rail),
            SegmentState::Unsent => {
                self.resend.remove(psn);
            }
        }
        slot
    }

    fn unsend(&mut self, psn: Psn) {
        let slot = self.segments.at_mut(psn.get());
        slot.state = SegmentState::Unsent;
        let rail = slot.rail;
        self.count_down(rail);
        self.resend.insert(psn);
    }

    fn repeat(&mut self, psn: Psn, rail: RailId, seq: RailSeq) -> RequestSegment {
        self.counters.repeated_segments += 1;
        self.mark_sent(psn, rail, seq);
        self.build(psn, SegmentFlags::REPEAT.with(SegmentFlags::ACK_REQUEST))
    }

    fn mark_sent(&mut self, psn: Psn, rail: RailId, seq: RailSeq) {
        let slot = self.segments.at_mut(psn.get());
        slot.state = SegmentState::Sent;
        slot.rail = rail;
        slot.seq = seq;
        self.sent += 1;
        self.sent_on[rail.index()] += 1;
    }

    fn count_down(&mut self, rail: RailId) {
        self.sent = self.sent.saturating_sub(1);
        let on_rail = &mut self.sent_on[rail.index()];
        *on_rail = on_rail.saturating_sub(1);
    }

    fn candidate(&self, rail: RailId, now: Instant, rails: &impl Rails) -> Option<Candidate> {
        match self.state {
            State::Running | State::Failing(_) => {}
            State::Idle | State::Flushing => return None,
        }
        if self.rnr_until.is_some_and(|until| now < until) {
            return None;
        }
        match self.caution {
            Caution::Only(only) if only != rail && rails.is_up(only) => return None,
            Caution::Only(_) | Caution::AnyOne | Caution::None => {}
        }
        if let Some(number) = self.due_reread() {
            return Some(Candidate::Reread(number));
        }
        let again = self
            .resend
            .first_from(self.una)
            .map(|psn| (psn, self.segments.at(psn.get()).message))
            // What is to be sent again of a message that fails is not in the way of those before it.
            .filter(|&(_, number)| self.may_send(number));
        if let Some((psn, number)) = again {
            let may_go =
                !self.is_ordered(self.messages.at(number)) || self.all_before_on(psn, rail, rails);
            return may_go.then_some(Candidate::Resend(psn));
        }
        if self.may_admit(rail, rails) {
            return Some(Candidate::New);
        }
        self.unrequested().map(Candidate::Probe)
    }

    /// When no more messages are begun, those that were must get their acknowledgement, even if none
    /// was asked for as more was to come: the last segment that waits without.
    fn unrequested(&self) -> Option<Psn> {
        let end = match self.state {
            State::Running if self.admission == Admission::Open => return None,
            State::Running if self.admitted_segments > 0 => return None,
            State::Running => self.next,
            State::Failing(failure) => {
                let failing = failure.message.wrapping_sub(self.completed);
                let begun = self.admitted.wrapping_sub(self.completed);
                if failing < begun || (failing == begun && self.admitted_segments > 0) {
                    self.messages.at(failure.message).first_psn
                } else {
                    self.next
                }
            }
            State::Idle | State::Flushing => return None,
        };
        let waits = self.una.is_before(end) && self.ack_requested.is_before(end);
        waits.then_some(end.previous())
    }

    /// Whether a message is not (behind one that is) known to fail.
    pub(super) fn may_send(&self, number: u32) -> bool {
        match self.state {
            State::Running => true,
            State::Failing(failure) => {
                number.wrapping_sub(self.completed) < failure.message.wrapping_sub(self.completed)
            }
            State::Idle | State::Flushing => false,
        }
    }

    fn may_admit(&self, rail: RailId, rails: &impl Rails) -> bool {
        if self.admitted == self.posted
            || !self.may_send(self.admitted)
            || self.next.distance_from(self.una) >= self.window
        {
            return false;
        }
        let message = self.messages.at(self.admitted);
        if self.admitted_segments > 0 {
            return true;
        }
        if self.admission != Admission::Open {
            return false;
        }
        let reads = self.reads_outstanding();
        if message.request.fencing == Fencing::Fenced && reads > 0 {
            return false;
        }
        match message.request.opcode {
            // Where none is allowed, whoever asks for a segment has it fail.
            Opcode::Read if self.config.max_rd_atomic == 0 => true,
            Opcode::Read => {
                reads < u32::from(self.config.max_rd_atomic)
                    && reads < self.reads.len()
                    && self.has_numbers_for(message.request.length)
            }
            Opcode::Send | Opcode::SendWithImm | Opcode::Write | Opcode::WriteWithImm => {
                !self.is_ordered(message) || self.is_all_on(rail, rails)
            }
        }
    }

    /// A READ on a queue pair that allows none would wait for ever: it fails.
    fn refuse_impossible_read(&mut self) {
        let is_next = self.admitted != self.posted
            && self.admitted_segments == 0
            && self.admission == Admission::Open
            && self.may_send(self.admitted);
        if is_next
            && self.config.max_rd_atomic == 0
            && self.messages.at(self.admitted).request.opcode == Opcode::Read
        {
            self.fail(self.admitted, CompletionStatus::LocalQpOperationError);
        }
    }

    /// Small WRITEs are placed in order with all before them, as applications poll memory for them.
    fn is_ordered(&self, message: &Message) -> bool {
        // No segment size is smaller than that.
        message.request.opcode == Opcode::Write && message.request.length <= SMALL_PAYLOAD
    }

    /// Whether no outstanding segment before `psn` can arrive after what is sent over this rail now. Those on the rail
    /// itself cannot, nor can those that were sent over one that is gone: with nobody else to acknowledge them, what is
    /// behind would have to wait for the timer. A responder that has dropped one of them complains.
    fn all_before_on(&self, psn: Psn, rail: RailId, rails: &impl Rails) -> bool {
        // Rails are asked once each.
        let mut gone = rail;
        let mut before = self.una;
        while before != psn {
            let slot = self.segments.at(before.get());
            if slot.state != SegmentState::Sent {
                return false;
            }
            if slot.rail != rail && slot.rail != gone {
                if rails.is_up(slot.rail) {
                    return false;
                }
                gone = slot.rail;
            }
            before = before.next();
        }
        true
    }

    /// The same for all outstanding segments.
    fn is_all_on(&self, rail: RailId, rails: &impl Rails) -> bool {
        let mut elsewhere = self.sent - self.sent_on[rail.index()];
        for (number, on_rail) in (0u8..).zip(self.sent_on) {
            if elsewhere == 0 {
                break;
            }
            let is_other = usize::from(number) != rail.index() && on_rail > 0;
            if is_other && RailId::new(number).is_some_and(|other| rails.is_up(other)) {
                return false;
            }
            if is_other {
                elsewhere = elsewhere.saturating_sub(on_rail);
            }
        }
        true
    }

    /// Takes the next new segment into the window.
    fn admit(&mut self) -> Psn {
        let psn = self.next;
        let number = self.admitted;
        self.next = psn.next();
        *self.segments.at_mut(psn.get()) = SegmentSlot {
            message: number,
            ..SegmentSlot::default()
        };
        let segment = self.config.segment;
        let message = self.messages.at_mut(number);
        if self.admitted_segments == 0 {
            message.first_psn = psn;
            message.segments = match message.request.opcode {
                Opcode::Read => 1,
                Opcode::Send | Opcode::SendWithImm | Opcode::Write | Opcode::WriteWithImm => {
                    segments_of(message.request.length, segment)
                }
            };
        }
        let request = message.request;
        let segments = message.segments;
        self.admitted_segments += 1;
        if request.opcode == Opcode::Read {
            self.issue_read(number, psn, request.length);
        }
        if self.admitted_segments == segments {
            self.admitted = number.wrapping_add(1);
            self.admitted_segments = 0;
        }
        psn
    }

    /// Makes the header of a segment in the window.
    fn build(&mut self, psn: Psn, extra: SegmentFlags) -> RequestSegment {
        let number = self.segments.at(psn.get()).message;
        let message = *self.messages.at(number);
        let request = message.request;
        let slot = self.slot_of(number);
        if request.opcode == Opcode::Read {
            return self.build_read(psn, number, extra);
        }
        let index = psn.distance_from(message.first_psn);
        let offset = index.saturating_mul(self.config.segment);
        let len = request
            .length
            .saturating_sub(offset)
            .min(self.config.segment);
        let is_last = index + 1 == message.segments;
        let mut flags = extra;
        if index == 0 {
            flags = flags.with(SegmentFlags::FIRST);
        }
        if is_last {
            flags = flags.with(SegmentFlags::LAST);
        }
        if request.solicitation == Solicitation::Solicited {
            flags = flags.with(SegmentFlags::SOLICITED);
        }
        if self.is_ordered(&message) {
            flags = flags.with(SegmentFlags::ORDERED);
        }
        let asks = flags.contains(SegmentFlags::ACK_REQUEST);
        if asks || self.wants_ack(psn, number, &message, is_last) {
            self.note_ack_request(psn);
            flags = flags.with(SegmentFlags::ACK_REQUEST);
        }
        let (rkey, va) = match request.opcode {
            Opcode::Write | Opcode::WriteWithImm => (
                request.rkey,
                request.remote_va.wrapping_add(u64::from(offset)),
            ),
            Opcode::Send | Opcode::SendWithImm | Opcode::Read => Default::default(),
        };
        RequestSegment {
            header: RequestHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                psn,
                opcode: request.opcode,
                flags,
                rsn: message.rsn,
                rkey,
                va,
                offset,
                imm: request.imm,
                response_psn: Psn::new(0),
                payload_len: len,
            },
            source: LocalRange { slot, offset, len },
        }
    }

    /// An acknowledgement of this segment will come.
    pub(super) fn note_ack_request(&mut self, psn: Psn) {
        self.since_ack_request = 0;
        if self.ack_requested.is_before(psn.next()) {
            self.ack_requested = psn.next();
        }
    }

    /// Whether the peer should acknowledge this segment: its user waits for it, or the requester
    /// may have to before it can go on.
    fn wants_ack(&mut self, psn: Psn, number: u32, message: &Message, is_last: bool) -> bool {
        self.since_ack_request += 1;
        let follower = number.wrapping_add(1);
        let is_awaited = message.request.signalling == Signalling::Signalled
            || follower == self.posted
            || (self.is_ordered(self.messages.at(follower)) && !self.is_all_on_rail_of(psn));
        (is_last && is_awaited)
            || self.since_ack_request >= self.window.div_ceil(ACK_REQUEST_SHARE)
            || self.next.distance_from(self.una) >= self.window
    }

    /// Whether everything outstanding is on the rail this segment was sent over.
    fn is_all_on_rail_of(&self, psn: Psn) -> bool {
        let rail = self.segments.at(psn.get()).rail;
        self.sent == self.sent_on[rail.index()]
    }
}
