// SPDX-License-Identifier: GPL-2.0

//! The send queue: requests from posting to completion.

use super::LocalOperation;
use super::SendRequest;
use crate::transport::frame::padded;
use crate::transport::frame::SegmentSize;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::MessageSlot;
use crate::transport::ids::Psn;
use crate::transport::ids::Rsn;
use crate::transport::message_number::MessageNumber;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// Whether a local operation has been carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LocalProgress {
    Waiting,
    Done,
}

/// Who carries a message out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Executor {
    /// The peer: segments of it are sent.
    #[default]
    Peer,
    /// This host: it has no segments.
    Host(LocalOperation, LocalProgress),
}

impl Executor {
    /// The operation, if it is a local one.
    pub(super) const fn local(self) -> Option<LocalOperation> {
        match self {
            Self::Peer => None,
            Self::Host(operation, _) => Some(operation),
        }
    }
}

/// Entry of the table of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message {
    /// What was posted; of a local operation, what it has in common with others.
    pub(super) request: SendRequest,
    pub(super) executor: Executor,
    /// Receives used up by the messages before it.
    pub(super) rsn: Rsn,
    /// These are known once the first segment is in the window.
    pub(super) first_psn: Psn,
    pub(super) segments: u32,
    /// READ, atomic operation or FLUSH: all of the answer has been placed.
    answered: bool,
}

impl Message {
    /// PSN of its last segment.
    pub(super) const fn last_psn(&self) -> Psn {
        self.first_psn.add(self.segments - 1)
    }
}

/// Requests posted and not completed, in order.
///
/// # Invariants
///
/// `completed` <= `acknowledged` <= `admitted` <= `posted` (as distances), at most the table's length apart. Local
/// operations before `admitted` have been carried out.
pub(super) struct Messages<S: Storage> {
    table: Ring<S, Message>,
    /// All messages before this one have completed.
    completed: MessageNumber,
    /// All messages before this one have been acknowledged.
    acknowledged: MessageNumber,
    /// All segments of those before are in the window, or have left it.
    admitted: MessageNumber,
    /// Segments of the message `admitted` that are in the window already.
    admitted_segments: u32,
    /// Number of the next message to be posted.
    posted: MessageNumber,
    /// Receives used up by all that have been posted.
    next_rsn: Rsn,
}

impl<S: Storage> Messages<S> {
    pub(super) fn new(table: Ring<S, Message>) -> Self {
        Self {
            table,
            completed: MessageNumber::FIRST,
            acknowledged: MessageNumber::FIRST,
            admitted: MessageNumber::FIRST,
            admitted_segments: 0,
            posted: MessageNumber::FIRST,
            next_rsn: Rsn::FIRST,
        }
    }

    /// Forgets all messages.
    pub(super) fn reset(&mut self) {
        self.completed = self.posted;
        self.acknowledged = self.posted;
        self.admitted = self.posted;
        self.admitted_segments = 0;
        self.next_rsn = Rsn::FIRST;
    }

    /// How many more messages can be posted.
    pub(super) fn room(&self) -> u32 {
        self.table.len() - self.outstanding()
    }

    /// How many have been posted and are not complete.
    pub(super) const fn outstanding(&self) -> u32 {
        self.posted.distance_from(self.completed)
    }

    /// Posts a request, if there is room.
    pub(super) fn push(
        &mut self,
        request: SendRequest,
        executor: Executor,
    ) -> Option<MessageNumber> {
        if self.outstanding() >= self.table.len() {
            return None;
        }
        let number = self.posted;
        *self.at_mut(number) = Message {
            request,
            executor,
            rsn: self.next_rsn,
            first_psn: Psn::new(0),
            segments: 0,
            answered: false,
        };
        if executor == Executor::Peer && request.opcode.consumes_receive() {
            self.next_rsn = self.next_rsn.add(1);
        }
        self.posted = number.next();
        Some(number)
    }

    pub(super) fn at(&self, number: MessageNumber) -> &Message {
        self.table.at(number.position())
    }

    fn at_mut(&mut self, number: MessageNumber) -> &mut Message {
        self.table.at_mut(number.position())
    }

    /// The caller's name for the message.
    pub(super) fn slot_of(&self, number: MessageNumber) -> MessageSlot {
        MessageSlot(self.table.index(number.position()) as u16)
    }

    /// The message posted as `slot`, unless it is complete.
    pub(super) fn find(&self, slot: MessageSlot) -> Option<MessageNumber> {
        let number = MessageNumber::in_slot(slot, self.completed, self.table.len());
        (number.distance_from(self.completed) < self.outstanding()).then_some(number)
    }

    /// No message before this one is left.
    pub(super) const fn base(&self) -> MessageNumber {
        self.completed
    }

    /// Whether `one`, which is not complete, was posted before `other`.
    pub(super) const fn is_before(&self, one: MessageNumber, other: MessageNumber) -> bool {
        one.is_before(other, self.completed)
    }

    /// The message posted directly behind `number`.
    pub(super) fn follower(&self, number: MessageNumber) -> Option<&Message> {
        let follower = number.next();
        (follower != self.posted).then(|| self.at(follower))
    }

    /// The next message to enter the window, or to enter it further.
    pub(super) fn next_to_admit(&self) -> Option<MessageNumber> {
        (self.admitted != self.posted).then_some(self.admitted)
    }

    /// How many are to enter the window.
    pub(super) const fn waiting(&self) -> u32 {
        self.posted.distance_from(self.admitted)
    }

    /// Those that are to enter the window.
    fn waiting_requests(&self) -> impl Iterator<Item = &SendRequest> + '_ {
        let mut number = self.admitted;
        core::iter::from_fn(move || {
            let message = (number != self.posted).then(|| self.at(number))?;
            number = number.next();
            Some(message)
        })
        .filter(|message| message.executor == Executor::Peer)
        .map(|message| &message.request)
    }

    /// How many bytes each of them carries.
    fn waiting_lengths(&self) -> impl Iterator<Item = u32> + '_ {
        self.waiting_requests().map(SendRequest::carried)
    }

    /// Whether one of them is answered.
    pub(super) fn waiting_want_answers(&self) -> bool {
        self.waiting_requests()
            .any(|request| request.opcode.is_answered())
    }

    /// Whether those that are to enter the window carry at most `longest` bytes each.
    pub(super) fn waiting_are_within(&self, longest: u32) -> bool {
        self.waiting_lengths().all(|carried| carried <= longest)
    }

    /// Whether those that are to enter the window are few and small: together, with their headers, at most `bytes`.
    pub(super) fn waiting_fit(&self, bytes: u32) -> bool {
        let mut room = bytes;
        self.waiting_lengths().all(|carried| {
            let rest = (carried <= room)
                .then(|| room.checked_sub(HEADER_LEN as u32 + padded(carried)))
                .flatten();
            room = rest.unwrap_or(0);
            rest.is_some()
        })
    }

    /// How many segments of [`Self::next_to_admit`] have entered the window.
    pub(super) const fn admitted_segments(&self) -> u32 {
        self.admitted_segments
    }

    /// Whether only some segments of a message have entered the window.
    pub(super) const fn is_admitting(&self) -> bool {
        self.admitted_segments > 0
    }

    /// Whether a segment of the message has entered the window.
    pub(super) fn has_begun(&self, number: MessageNumber) -> bool {
        self.is_before(number, self.admitted) || (number == self.admitted && self.is_admitting())
    }

    /// The next segment enters the window as `psn`; the message is cut into segments of this size.
    pub(super) fn admit_segment(&mut self, psn: Psn, size: SegmentSize) {
        let number = self.admitted;
        let is_first = !self.is_admitting();
        let message = self.at_mut(number);
        if is_first {
            message.first_psn = psn;
            message.segments = if message.request.opcode.is_answered() {
                1
            } else {
                size.segments_of(message.request.length)
            };
        }
        let segments = message.segments;
        self.admitted_segments += 1;
        if self.admitted_segments == segments {
            self.admitted = number.next();
            self.admitted_segments = 0;
        }
    }

    /// The message that was to enter the window next is a local operation, and has been carried out.
    pub(super) fn finish_local(&mut self) {
        let number = self.admitted;
        let message = self.at_mut(number);
        if let Executor::Host(_, progress) = &mut message.executor {
            *progress = LocalProgress::Done;
            self.admitted = number.next();
        }
    }

    /// The segment `psn` of the message has been acknowledged, and all before it.
    pub(super) fn acknowledge_segment(&mut self, number: MessageNumber, psn: Psn) {
        if self.at(number).last_psn() == psn {
            self.acknowledged = number.next();
        }
    }

    /// All of the answer has been placed.
    pub(super) fn note_answered(&mut self, number: MessageNumber) {
        self.at_mut(number).answered = true;
    }

    pub(super) fn is_complete(&self, number: MessageNumber) -> bool {
        let message = self.at(number);
        if let Executor::Host(_, progress) = message.executor {
            return progress == LocalProgress::Done;
        }
        let is_acknowledged = self.is_before(number, self.acknowledged);
        is_acknowledged && (message.answered || !message.request.opcode.is_answered())
    }

    /// The oldest message that is not complete; the one to be posted next if all are.
    pub(super) fn first_incomplete(&self) -> MessageNumber {
        let mut number = self.completed;
        while number != self.posted && self.is_complete(number) {
            number = number.next();
        }
        number
    }

    /// The message whose completion is to be polled next.
    pub(super) fn oldest(&self) -> Option<MessageNumber> {
        (self.completed != self.posted).then_some(self.completed)
    }

    /// The completion of the oldest message has been polled.
    pub(super) fn pop_oldest(&mut self) {
        // Nobody acknowledges a local operation.
        if self.acknowledged == self.completed {
            self.acknowledged = self.completed.next();
        }
        self.completed = self.completed.next();
    }

    /// The oldest message is flushed, and no more are sent.
    pub(super) fn flush_oldest(&mut self) {
        self.pop_oldest();
        self.acknowledged = self.completed;
        self.admitted = self.posted;
    }
}
