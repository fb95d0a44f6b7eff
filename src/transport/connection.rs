// SPDX-License-Identifier: GPL-2.0

//! A reliable connection: the requester and the responder of one queue pair.
//!
//! `handle_*` takes what happens, `poll_*` gives what is to be done until there is nothing more. Whatever changes the
//! connection may bring something for each of the `poll_*`.

use super::depth::Depth;
use super::final_acks::AckState;
use super::final_acks::FinalAck;
use super::frame::AckHeader;
use super::frame::Operands;
use super::frame::RequestHeader;
use super::frame::ResponseHeader;
use super::frame::MAX_PAYLOAD;
use super::frame::SHORT_MESSAGE;
use super::ids::Instant;
use super::ids::MessageSlot;
use super::ids::Psn;
use super::ids::RailId;
use super::ids::RailSeq;
use super::limits::Limits;
use super::outcome::Outcome;
use super::pace::Pace;
use super::rail::hello::Features;
use super::rail::InFlight;
use super::rail_set::RailSet;
use super::requester::DueOperation;
use super::requester::LocalRequest;
use super::requester::PostError;
use super::requester::Rails;
use super::requester::RequestSegment;
use super::requester::Requester;
use super::requester::RequesterConfig;
use super::requester::RequesterCounters;
use super::requester::RequesterTables;
use super::requester::ResponseDisposition;
use super::requester::ResponseToken;
use super::requester::SendCompletion;
use super::requester::SendRequest;
use super::responder::Disposition;
use super::responder::Execution;
use super::responder::ReceiveCompletion;
use super::responder::ReceiveQueue;
use super::responder::RequestToken;
use super::responder::Responder;
use super::responder::ResponderConfig;
use super::responder::ResponderCounters;
use super::responder::ResponderTables;
use super::responder::ResponseSegment;
use super::share::Share;
use super::status::CompletionStatus;
use super::status::NakCode;
use super::status::QpEvent;
use super::storage::BadTableLength;
use super::storage::Storage;
use super::timing::AckTimeout;
use super::timing::RetryLimit;
use super::timing::RnrTimer;

/// Attributes that may change while a queue pair is connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tuning {
    /// Local ACK timeout.
    pub timeout: AckTimeout,
    /// `retry_cnt`.
    pub retry: RetryLimit,
    /// `rnr_retry`.
    pub rnr_retry: RetryLimit,
    /// How many READs may be outstanding: at most as many as the requester's table has entries for.
    pub max_rd_atomic: u8,
    /// `min_rnr_timer`.
    pub rnr_timer: RnrTimer,
    /// How many READs the peer may have outstanding: at most as many as the responder's table has entries for.
    pub max_dest_rd_atomic: u8,
}

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConnectionCounters {
    /// Those of the requester.
    pub requester: RequesterCounters,
    /// Those of the responder.
    pub responder: ResponderCounters,
}

/// Identifies a payload that is being placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PayloadToken {
    /// Payload of a request.
    Request(RequestToken),
    /// Payload of a response.
    Response(ResponseToken),
}

/// The frame that a segment may travel in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameSlot {
    /// Over which rail.
    pub rail: RailId,
    /// Number of the frame on that rail.
    pub seq: RailSeq,
    /// How long its payload may be. Of segments sent before, those have room that are as long as any.
    pub room: u32,
}

/// A segment to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Segment {
    /// Of a request. If its payload cannot be had, it is one for [`Connection::handle_send_failure`] instead of a frame.
    Request(RequestSegment),
    /// Of the answer to a READ. If its payload may not be read, it is one for [`Connection::handle_response_failure`]
    /// instead of a frame.
    Response(ResponseSegment),
}

/// What of a connection was posted and not sent yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Posted {
    /// So little that who posts it had better send it: the program does not post a stream, or waits for each request.
    Urgent,
    /// So little, or so few short messages, that it may wait for the acknowledgements that the peer owes, to go with what is posted until
    /// then.
    WaitsForAck,
    /// As little, where the peer owes nothing: it may wait for what others have under way to the same host, and then for what programs are
    /// about to post.
    WithOthers(Amount),
    /// So much that it is sent by whoever has time for it, or nothing.
    Much,
}

/// Whether a connection keeps to the limits of its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Agreement {
    /// They are not known, or something has changed since they were.
    Pending,
    /// The connection keeps to them.
    Reached,
}

/// How much has been posted of that which may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Amount {
    /// So little that who posts it had better send it, if it does not wait.
    Little,
    /// A few short messages, which are sent by whoever has time for them.
    Short,
}

/// What the requester has under way, or had the last time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LastSent {
    /// Short messages only.
    Short,
    /// Others, or nothing yet.
    Other,
}

/// A reliable connection.
pub struct Connection<S: Storage> {
    requester: Requester<S>,
    responder: Responder<S>,
    agreement: Agreement,
    pace: Pace,
    peer_pace: Pace,
    depth: Depth,
    last_sent: LastSent,
}

impl<S: Storage> Connection<S> {
    /// One that is not connected.
    ///
    /// # Errors
    ///
    /// If a table's length is not a power of two, or out of range.
    pub fn new(
        requester: RequesterTables<S>,
        responder: ResponderTables<S>,
    ) -> Result<Self, BadTableLength> {
        Ok(Self {
            requester: Requester::new(requester)?,
            responder: Responder::new(responder)?,
            agreement: Agreement::Pending,
            pace: Pace::new(),
            peer_pace: Pace::new(),
            depth: Depth::new(),
            last_sent: LastSent::Other,
        })
    }

    /// Connects the responder (transition to RTR). Everything of an earlier life of it is forgotten.
    pub fn start_responder(&mut self, config: ResponderConfig) {
        self.responder.start(config);
        self.agreement = Agreement::Pending;
    }

    /// Requests arrived before the responder was started, and had to be dropped: makes the peer send them again now rather
    /// than after its timeout. Harmless if there were none.
    pub fn announce_ready(&mut self) {
        self.responder.announce_ready();
    }

    /// Connects the requester (transition to RTS). Everything of an earlier life of it is forgotten.
    pub fn start_requester(&mut self, config: RequesterConfig) {
        self.requester.start(config);
        self.agreement = Agreement::Pending;
    }

    /// Changes attributes of a connected queue pair.
    pub fn tune(&mut self, tuning: &Tuning, now: Instant) {
        self.requester
            .set_timing(tuning.timeout, tuning.retry, tuning.rnr_retry, now);
        self.requester.set_max_rd_atomic(tuning.max_rd_atomic);
        self.responder.set_rnr_timer(tuning.rnr_timer);
        self.responder
            .set_max_dest_rd_atomic(tuning.max_dest_rd_atomic);
        // What the peer can take bounds some of that.
        self.agreement = Agreement::Pending;
    }

    /// Begins no more messages (transition to SQD). Once all that were begun are complete, there is a
    /// [`QpEvent::SendQueueDrained`].
    pub fn drain(&mut self) {
        self.requester.drain();
    }

    /// Begins messages again (transition from SQD to RTS).
    pub fn resume(&mut self, now: Instant) {
        self.requester.resume(now);
    }

    /// Flushes all that is not complete, and whatever is posted from now on (transition to ERR), also if the requester was
    /// not connected.
    pub fn flush(&mut self) {
        if self.requester.next_psn().is_none() {
            self.requester.start(RequesterConfig::UNCONNECTED);
        }
        self.requester.flush();
        self.responder.flush();
    }

    /// Forgets everything (transition to RESET). What is left to be said to the peer is given, if it was connected.
    #[must_use = "without its last acknowledgement the peer may have to time out"]
    pub fn reset(&mut self) -> Option<FinalAck> {
        let state = self.ack_state();
        let ack = self.take_ack();
        self.requester.reset();
        self.responder.reset();
        self.pace = Pace::new();
        self.peer_pace = Pace::new();
        self.depth = Depth::new();
        self.last_sent = LastSent::Other;
        ack.map(|ack| FinalAck { ack, state })
    }

    /// Whether [`Self::handle_limits`] must be called before there are segments to send.
    pub fn awaits_limits(&self) -> bool {
        self.agreement == Agreement::Pending
    }

    /// The way to the peer is another one, and its limits may be.
    pub fn handle_new_path(&mut self) {
        self.agreement = Agreement::Pending;
    }

    /// The peer's limits are known: from now on neither they nor our own are exceeded.
    pub fn handle_limits(&mut self, peer: &Limits) {
        self.requester.agree(peer);
        self.responder.agree(peer);
        self.agreement = Agreement::Reached;
    }

    /// What the peer offers is known, which it is together with its limits: a request that it does not know fails when its turn
    /// comes. Until then, nothing that the plain protocol does not have goes.
    pub fn handle_features(&mut self, peer: Features) {
        self.requester.set_peer_features(peer);
    }

    /// Posts a request. After a failure it will be flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post(&mut self, request: SendRequest, now: Instant) -> Result<MessageSlot, PostError> {
        let slot = self.requester.post(request, now)?;
        self.pace.note_own();
        self.peer_pace.note_other();
        self.depth.note_posted(self.requester.outstanding());
        Ok(slot)
    }

    /// Posts a local operation. After a failure it will be flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post_local(&mut self, request: LocalRequest) -> Result<MessageSlot, PostError> {
        self.requester.post_local(request)
    }

    /// The local operation that is to be carried out now, before anything behind it is sent. Its end is told to
    /// [`Self::handle_local_end`]; until then it stays due.
    pub fn due_local(&self) -> Option<DueOperation> {
        self.requester.due_local()
    }

    /// The local operation posted as `slot`, which was due, has been carried out, or has failed with this status.
    pub fn handle_local_end(
        &mut self,
        slot: MessageSlot,
        result: Result<(), CompletionStatus>,
        now: Instant,
    ) {
        self.requester.finish_local(slot, result, now);
    }

    /// How many more requests can be posted.
    pub fn room(&self) -> u32 {
        self.requester.room()
    }

    /// How many requests have been posted and are not complete.
    pub const fn outstanding(&self) -> u32 {
        self.requester.outstanding()
    }

    /// Who had better send what was posted and not sent yet, and when.
    pub fn posted(&self) -> Posted {
        let is_little = self.requester.has_little();
        // Whoever posts sends no more than that.
        let at_once = if is_little {
            Posted::Urgent
        } else {
            Posted::Much
        };
        if !self.posts_stream() {
            return at_once;
        }
        if !is_little && !self.requester.has_short() {
            return Posted::Much;
        }
        let may_wait = self.may_wait();
        if may_wait && self.requester.is_ack_owed() {
            return Posted::WaitsForAck;
        }
        if may_wait && !self.requester.wants_answers() {
            return Posted::WithOthers(if is_little {
                Amount::Little
            } else {
                Amount::Short
            });
        }
        if self.outstanding() <= 1 {
            at_once
        } else {
            Posted::Much
        }
    }

    /// What is under way of a stream of short messages, if others are to wait for it: not for a program that has one at a time, nor for
    /// something else than an acknowledgement that comes soon.
    pub fn share(&self) -> Share {
        if self.last_sent == LastSent::Other || !self.posts_stream() {
            return Share::NONE;
        }
        Share {
            under_way: self.outstanding(),
            is_owed: self.requester.has_nothing_urgent() && self.requester.is_ack_owed(),
        }
    }

    /// Whether the program posts a stream, and does not wait for each request.
    fn posts_stream(&self) -> bool {
        self.pace.is_stream() && !self.depth.is_one()
    }

    /// Whether little and short messages may wait.
    fn may_wait(&self) -> bool {
        self.ack_state() == AckState::Sent
            && self.requester.has_nothing_urgent()
            && !self.responder.has_response()
    }

    /// A segment of a request has arrived.
    #[must_use = "a payload that is to be placed must be told of by `handle_payload`"]
    pub fn handle_request(
        &mut self,
        request: &RequestHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Disposition {
        if request.begins_message() {
            self.pace.note_other();
            self.peer_pace.note_own();
        }
        self.responder.on_request(request, queue)
    }

    /// A segment of the answer to a READ has arrived.
    #[must_use = "a payload that is to be placed must be told of by `handle_payload`"]
    pub fn handle_response(
        &mut self,
        response: &ResponseHeader,
        now: Instant,
    ) -> ResponseDisposition {
        self.requester.on_response(response, now)
    }

    /// An acknowledgement has arrived.
    pub fn handle_ack(&mut self, ack: &AckHeader, now: Instant) {
        self.requester.on_ack(ack, now);
        self.responder.on_response_ack(ack.response_psn);
    }

    /// What became of a payload that was to be placed. One of an earlier life is ignored.
    pub fn handle_payload(
        &mut self,
        token: PayloadToken,
        outcome: Outcome,
        queue: &mut impl ReceiveQueue,
        now: Instant,
    ) {
        match token {
            PayloadToken::Request(token) => self.responder.commit(token, outcome, queue),
            PayloadToken::Response(token) => self.requester.commit_response(token, outcome, now),
        }
    }

    /// The operands of an atomic operation that may be carried out.
    pub fn handle_operands(
        &mut self,
        token: RequestToken,
        operands: Operands,
        queue: &mut impl ReceiveQueue,
    ) {
        self.responder.commit_operands(token, operands, queue);
    }

    /// What [`Self::poll_execution`] gave has been carried out: what the word was before, if that is asked for, or why it could not
    /// be done: then nothing was.
    pub fn handle_execution(
        &mut self,
        token: RequestToken,
        outcome: Result<u64, NakCode>,
        queue: &mut impl ReceiveQueue,
    ) {
        self.responder.commit_execution(token, outcome, queue);
    }

    /// The frame `seq` of `rail`, which carried this, was lost.
    pub fn handle_lost(&mut self, item: InFlight, rail: RailId, seq: RailSeq) {
        match item {
            InFlight::Request { psn, .. } => self.requester.on_lost(psn, rail, seq),
            InFlight::Response { psn, .. } => self.responder.on_lost_response(psn, rail, seq),
            InFlight::Ack { .. } => self.responder.on_lost_ack(),
            InFlight::Datagram
            | InFlight::Unreliable { .. }
            | InFlight::UnreliableDatagram { .. } => {}
        }
    }

    /// The time that [`Self::poll_timeout`] named has come; harmless before.
    pub fn handle_timeout(&mut self, now: Instant, rails: &impl Rails) {
        self.requester.on_timer(now, rails);
    }

    /// What was to be sent could not be for a while, for want of its payload: that time is not the peer's.
    pub fn restart_timer(&mut self, now: Instant) {
        self.requester.restart_timer(now);
    }

    /// Whether an acknowledgement is due.
    pub fn is_ack_due(&self) -> bool {
        self.ack_state() == AckState::Due
    }

    /// A posted request cannot be carried out for a reason found on this side, such as a local buffer
    /// without a memory region: it fails with `status` when those before it are complete.
    pub fn handle_send_failure(&mut self, slot: MessageSlot, status: CompletionStatus) {
        self.requester.fail_message(slot, status);
    }

    /// The memory of the response with this number may not be read (any more): its READ fails, and
    /// the queue pair with it, once the answers before it have been delivered.
    pub fn handle_response_failure(&mut self, psn: Psn, code: NakCode) {
        self.responder.fail_response(psn, code);
    }

    /// Something to carry out in memory now, before anything else is asked for: then call [`Self::handle_execution`].
    #[must_use = "it is never given again"]
    pub fn poll_execution(&mut self) -> Option<Execution> {
        self.responder.poll_execution()
    }

    /// The acknowledgement to send now, if one is due. It goes before segments: the peer may wait for it.
    #[must_use = "an acknowledgement that is not sent counts as under way"]
    pub fn poll_ack(&mut self) -> Option<AckHeader> {
        match self.ack_state() {
            AckState::Due => self.take_ack(),
            AckState::Sent => None,
        }
    }

    /// The next segment to send in this frame; nothing before the peer's limits are known, which is before a rail to it is
    /// up. Answers come before requests: the peer waits for them.
    #[must_use = "a segment that is not sent counts as under way"]
    pub fn poll_segment(
        &mut self,
        slot: FrameSlot,
        now: Instant,
        rails: &impl Rails,
    ) -> Option<Segment> {
        if self.awaits_limits() {
            return None;
        }
        let FrameSlot { rail, seq, room } = slot;
        let fits_any = room >= MAX_PAYLOAD;
        let fits = |len: u32| len <= room;
        if fits_any || self.responder.next_response_len().is_some_and(fits) {
            if let Some(response) = self.responder.next_response(rail, seq) {
                return Some(Segment::Response(response));
            }
        }
        let next_len = || self.requester.next_segment_len(rail, now, rails);
        if fits_any || next_len().is_some_and(fits) {
            let was_owed = self.requester.is_ack_owed();
            let request = self.requester.next_segment(rail, seq, now, rails)?;
            let is_long = request.source.len > SHORT_MESSAGE || !request.header.begins_message();
            if is_long || request.header.operation.opcode().is_answered() {
                // What is posted behind it may be of the same kind.
                self.last_sent = LastSent::Other;
            } else if !was_owed {
                self.last_sent = LastSent::Short;
            }
            return Some(Segment::Request(request));
        }
        None
    }

    /// The rails over which there is something to send: all if any will do, also one that is not up yet.
    pub fn rails_with_frames(&self, now: Instant, rails: &impl Rails) -> RailSet {
        if self.ack_state() == AckState::Due || self.responder.has_response() {
            return RailSet::ALL;
        }
        let up = rails.up();
        if up.is_empty() {
            // A rail that is gone imposes no ordering: whatever comes up first is as good as any other.
            return if self.requester.has_work(RailId::default(), now, rails) {
                RailSet::ALL
            } else {
                RailSet::NONE
            };
        }
        let mut with_frames = RailSet::NONE;
        for rail in up.iter() {
            if self.requester.has_work(rail, now, rails) {
                with_frames.insert(rail);
            }
        }
        with_frames
    }

    /// Whether all there is to send is an acknowledgement that may wait a moment for something to ride on: the peer does not wait
    /// for it with more of a stream.
    pub fn has_ack_that_may_wait(&self) -> bool {
        self.ack_state() == AckState::Due
            && !self.peer_pace.is_stream()
            && self.responder.ack_may_wait()
            && !self.responder.has_response()
            && !self.requester.has_segments()
    }

    /// The oldest request that has not been polled as complete, which [`Self::poll_send_completion`] is about.
    pub fn oldest_request(&self) -> Option<MessageSlot> {
        self.requester.oldest_request()
    }

    /// The next completion of the send queue, in the order of posting. Unsuccessful ones end the queue: all behind are
    /// flushed.
    pub fn poll_send_completion(&mut self) -> Option<SendCompletion> {
        self.requester.poll_completion()
    }

    /// The next completion of a receive, in the order the receives were taken.
    pub fn poll_receive_completion(&mut self) -> Option<ReceiveCompletion> {
        self.responder.poll_completion()
    }

    /// Something the owner must act upon, if anything.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        self.requester
            .poll_event()
            .or_else(|| self.responder.poll_event())
    }

    /// When to call [`Self::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.requester.deadline()
    }

    /// PSN of the next new request; nothing if the requester is not connected.
    pub fn next_psn(&self) -> Option<Psn> {
        self.requester.next_psn()
    }

    /// PSN of the next request to be processed; nothing if the responder is not connected.
    pub fn expected_psn(&self) -> Option<Psn> {
        self.responder.expected_psn()
    }

    /// Whether messages begun before [`Self::drain`] are being waited for; not any more once
    /// [`QpEvent::SendQueueDrained`] has been polled.
    pub fn is_draining(&self) -> bool {
        self.requester.is_draining()
    }

    /// Counters of rare events.
    pub const fn counters(&self) -> ConnectionCounters {
        ConnectionCounters {
            requester: self.requester.counters(),
            responder: self.responder.counters(),
        }
    }

    /// How the acknowledgement stands: what the requester and the responder have to say, in one frame.
    fn ack_state(&self) -> AckState {
        if self.responder.ack_due() || self.requester.response_ack_due() {
            AckState::Due
        } else {
            AckState::Sent
        }
    }

    /// The acknowledgement as it is now; it counts as sent. Nothing if the responder is not connected.
    fn take_ack(&mut self) -> Option<AckHeader> {
        let response_psn = self.requester.take_response_ack();
        self.responder.take_ack(response_psn)
    }
}
