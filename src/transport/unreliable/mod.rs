// SPDX-License-Identifier: GPL-2.0

//! Unreliable connections (IBTA 9.8.2): messages arrive whole, in order and at most once, or not at all.
//!
//! Nothing is acknowledged and nothing is sent again. A message is complete for its sender when its data has left; what a rail
//! loses is lost, and with it the message that it was of. The receiver learns of losses from the numbers of the segments.
//!
//! What would break the order is several rails. So the segments of a queue pair go over one rail at a time, and the receiver
//! drops those that were overtaken when their sender changed to another one.

mod receiver;
mod sender;

use super::connection::FrameSlot;
use super::frame::UnreliableHeader;
use super::ids::MessageSlot;
use super::ids::Psn;
use super::ids::RailId;
use super::limits::Limits;
use super::outcome::Outcome;
use super::pace::Pace;
use super::rail::hello::Features;
use super::rail_set::RailSet;
use super::requester::PostError;
use super::requester::Rails;
use super::requester::SendCompletion;
use super::requester::SendRequest;
use super::responder::ReceiveCompletion;
use super::responder::ReceiveQueue;
use super::status::CompletionStatus;
use super::status::QpEvent;
use super::storage::BadTableLength;
use super::storage::Storage;

use receiver::Receiver;
use sender::Sender;

pub use receiver::PlacementToken;
pub use receiver::ReceiverConfig;
pub use receiver::ReceiverCounters;
pub use receiver::UnreliableDisposition;
pub use receiver::UnreliableDrop;
pub use sender::DepartureToken;
pub use sender::SenderConfig;
pub use sender::SenderCounters;
pub use sender::UnreliableMessage;
pub use sender::UnreliableSegment;

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UnreliableCounters {
    /// Those of the sender.
    pub sender: SenderCounters,
    /// Those of the receiver.
    pub receiver: ReceiverCounters,
}

/// Whether a connection keeps to the limits of its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Agreement {
    /// They are not known, or something has changed since they were.
    Pending,
    /// The connection keeps to them.
    Reached,
}

/// An unreliable connection.
pub struct UnreliableConnection<S: Storage> {
    sender: Sender<S>,
    receiver: Receiver,
    agreement: Agreement,
    pace: Pace,
}

impl<S: Storage> UnreliableConnection<S> {
    /// One that is not connected, with as many messages posted and not polled as `messages` has entries.
    ///
    /// # Errors
    ///
    /// If the table's length is not a power of two, or out of range.
    pub fn new(messages: S::Table<UnreliableMessage>) -> Result<Self, BadTableLength> {
        Ok(Self {
            sender: Sender::new(messages)?,
            receiver: Receiver::new(),
            agreement: Agreement::Pending,
            pace: Pace::new(),
        })
    }

    /// Connects the receiver (transition to RTR). Everything of an earlier life of it is forgotten.
    pub fn start_receiver(&mut self, config: ReceiverConfig) {
        self.receiver.start(config);
    }

    /// Connects the sender (transition to RTS). Everything of an earlier life of it is forgotten.
    pub fn start_sender(&mut self, config: SenderConfig) {
        self.sender.start(config);
        self.agreement = Agreement::Pending;
    }

    /// Begins no more messages (transition to SQD). Once all that were begun are complete, there is a
    /// [`QpEvent::SendQueueDrained`].
    pub fn drain(&mut self) {
        self.sender.drain();
    }

    /// Begins messages again (transition from SQD or SQE to RTS).
    pub fn resume(&mut self) {
        self.sender.resume();
    }

    /// Flushes all that is not complete, and whatever is posted from now on (transition to ERR), also if the sender was not
    /// connected.
    pub fn flush(&mut self) {
        self.sender.flush();
        self.receiver.flush();
    }

    /// Forgets everything (transition to RESET).
    pub fn reset(&mut self) {
        self.sender.reset();
        self.receiver.reset();
        self.pace = Pace::new();
    }

    /// Whether [`Self::handle_peer`] must be called before there are segments to send.
    pub fn awaits_limits(&self) -> bool {
        self.agreement == Agreement::Pending
    }

    /// The way to the peer is another one, and its limits may be.
    pub fn handle_new_path(&mut self) {
        self.agreement = Agreement::Pending;
    }

    /// What the peer can take and what it is able to do are known. If it does not know unreliable connections, whatever is posted
    /// fails.
    pub fn handle_peer(&mut self, limits: &Limits, features: Features) {
        self.sender.agree(limits, features);
        self.agreement = Agreement::Reached;
    }

    /// Posts a request. One that unreliable connections do not have fails; after a failure all are flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post(&mut self, request: SendRequest) -> Result<MessageSlot, PostError> {
        let slot = self.sender.post(request)?;
        self.pace.note_own();
        Ok(slot)
    }

    /// How many more requests can be posted.
    pub fn room(&self) -> u32 {
        self.sender.room()
    }

    /// How many requests have been posted and are not complete.
    pub const fn outstanding(&self) -> u32 {
        self.sender.outstanding()
    }

    /// Whether what was posted last is so little that who posts it had better send it: the program does not post a stream.
    pub fn is_urgent(&self) -> bool {
        !self.pace.is_stream() && self.sender.has_little()
    }

    /// A segment has arrived over `rail`.
    #[must_use = "a payload that is to be placed must be told of by `handle_payload`"]
    pub fn handle_segment(
        &mut self,
        segment: &UnreliableHeader,
        rail: RailId,
        queue: &mut impl ReceiveQueue,
    ) -> UnreliableDisposition {
        if segment.is_first() {
            self.pace.note_other();
        }
        self.receiver.on_segment(segment, rail, queue)
    }

    /// What became of a payload that was to be placed. One of an earlier life is ignored.
    pub fn handle_payload(&mut self, token: PlacementToken, outcome: Outcome) {
        self.receiver.commit(token, outcome);
    }

    /// The data of a segment has left: its memory is not looked at any more. To be told of each, also if its frame could not be
    /// sent. One of an earlier life is ignored.
    pub fn handle_departure(&mut self, token: DepartureToken) {
        self.sender.on_departure(token);
    }

    /// A frame with a segment was lost.
    pub fn handle_lost(&mut self) {
        self.sender.on_lost();
    }

    /// A posted request cannot be carried out for a reason found on this side: it fails with `status` when those before it are
    /// complete.
    pub fn handle_send_failure(&mut self, slot: MessageSlot, status: CompletionStatus) {
        self.sender.fail_message(slot, status);
    }

    /// The next segment to send in this frame; nothing before the peer's limits are known, which is before a rail to it is up.
    #[must_use = "a segment that is not sent must be told of by `handle_departure`"]
    pub fn poll_segment(
        &mut self,
        slot: FrameSlot,
        rails: &(impl Rails + ?Sized),
    ) -> Option<UnreliableSegment> {
        if self.awaits_limits() {
            return None;
        }
        self.sender.next_segment(slot, rails)
    }

    /// The rails over which there is something to send: all if any will do, also one that is not up yet.
    pub fn rails_with_frames(&self, rails: &(impl Rails + ?Sized)) -> RailSet {
        self.sender.rails_with_frames(rails)
    }

    /// The next completion of the send queue, in the order of posting. Unsuccessful ones end the queue: all behind are flushed.
    pub fn poll_send_completion(&mut self) -> Option<SendCompletion> {
        self.sender.poll_completion()
    }

    /// The next completion of a receive, in the order the receives were taken.
    pub fn poll_receive_completion(&mut self) -> Option<ReceiveCompletion> {
        self.receiver.poll_completion()
    }

    /// Something the owner must act upon, if anything. A [`QpEvent::SendFailed`] takes the queue pair to SQE only (IBTA 10.3.1.6):
    /// its receive queue goes on.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        self.sender
            .poll_event()
            .or_else(|| self.receiver.poll_event())
    }

    /// PSN of the next segment; nothing if the sender is not connected.
    pub fn next_psn(&self) -> Option<Psn> {
        self.sender.next_psn()
    }

    /// PSN that the next segment should have; nothing if the receiver is not connected.
    pub fn expected_psn(&self) -> Option<Psn> {
        self.receiver.expected_psn()
    }

    /// Whether messages begun before [`Self::drain`] are being waited for; not any more once
    /// [`QpEvent::SendQueueDrained`] has been polled.
    pub fn is_draining(&self) -> bool {
        self.sender.is_draining()
    }

    /// Counters of rare events.
    pub const fn counters(&self) -> UnreliableCounters {
        UnreliableCounters {
            sender: self.sender.counters(),
            receiver: self.receiver.counters(),
        }
    }
}
