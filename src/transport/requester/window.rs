// SPDX-License-Identifier: GPL-2.0

//! The window of request segments: which are outstanding, which of them are on which rail, and which must be sent
//! again.

use super::Rails;
use crate::transport::bitmap::PsnSet;
use crate::transport::ids::Psn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::message_number::MessageNumber;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// Share of the window after which an acknowledgement is requested.
const ACK_REQUEST_SHARE: u32 = 8;

/// Entry of the table of segments in the window: which message it is of, and the frame it was last sent in.
#[derive(Clone, Copy, Debug, Default)]
pub struct SegmentSlot {
    message: MessageNumber,
    seq: RailSeq,
    rail: RailId,
}

/// Whether a lost frame was the last one that carried its segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LostCopy {
    /// It was: the segment must be sent again.
    Latest,
    /// It was sent again meanwhile, or is to be.
    Outdated,
}

/// Segments that are not acknowledged.
///
/// # Invariants
///
/// `una..next` are outstanding, each with a slot; `unsent` are some of them. `on_rail` counts the others by rail.
pub(super) struct SendWindow<S: Storage> {
    slots: Ring<S, SegmentSlot>,
    /// The oldest that is not acknowledged.
    una: Psn,
    /// The next new one.
    next: Psn,
    /// How many may be outstanding: a power of two.
    size: u32,
    /// Segments to be sent again.
    unsent: PsnSet,
    on_rail: [u32; RailId::COUNT],
    /// Segments sent since an acknowledgement was last requested.
    since_ack_request: u32,
    /// An acknowledgement has been requested, or will come by itself, for all before this one.
    ack_requested: Psn,
}

impl<S: Storage> SendWindow<S> {
    pub(super) fn new(slots: Ring<S, SegmentSlot>) -> Self {
        Self {
            slots,
            una: Psn::new(0),
            next: Psn::new(0),
            size: 1,
            unsent: PsnSet::new(1),
            on_rail: [0; RailId::COUNT],
            since_ack_request: 0,
            ack_requested: Psn::new(0),
        }
    }

    /// Begins anew with the PSN `initial`. `size` is a power of two, at most [`Self::capacity`].
    pub(super) fn start(&mut self, initial: Psn, size: u32) {
        self.una = initial;
        self.next = initial;
        self.size = size;
        self.unsent = PsnSet::new(size);
        self.on_rail = [0; RailId::COUNT];
        self.since_ack_request = 0;
        self.ack_requested = initial;
    }

    /// From now on at most `size` segments, a power of two, are outstanding. More may be at present.
    pub(super) fn shrink(&mut self, size: u32) {
        self.size = size;
    }

    pub(super) fn capacity(&self) -> u32 {
        self.slots.len()
    }

    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// The oldest PSN that is not acknowledged.
    pub(super) const fn una(&self) -> Psn {
        self.una
    }

    /// The PSN of the next new segment.
    pub(super) const fn next(&self) -> Psn {
        self.next
    }

    pub(super) const fn outstanding(&self) -> u32 {
        self.next.distance_from(self.una)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.una == self.next
    }

    pub(super) const fn is_full(&self) -> bool {
        self.outstanding() >= self.size
    }

    pub(super) const fn contains(&self, psn: Psn) -> bool {
        psn.distance_from(self.una) < self.outstanding()
    }

    /// The message that the segment is of.
    pub(super) fn message_of(&self, psn: Psn) -> MessageNumber {
        self.slots.at(psn.get()).message
    }

    /// The message that the oldest segment is of.
    pub(super) fn oldest_message(&self) -> Option<MessageNumber> {
        (!self.is_empty()).then(|| self.message_of(self.una))
    }

    /// A segment of `message` enters the window as the PSN returned, sent as frame `seq` of `rail`.
    pub(super) fn admit(&mut self, message: MessageNumber, rail: RailId, seq: RailSeq) -> Psn {
        let psn = self.next;
        self.next = psn.next();
        *self.slots.at_mut(psn.get()) = SegmentSlot { message, seq, rail };
        self.count_up(rail);
        psn
    }

    /// A segment is sent again, as frame `seq` of `rail`.
    pub(super) fn resend(&mut self, psn: Psn, rail: RailId, seq: RailSeq) {
        if !self.unsent.remove(psn) {
            self.count_down(self.slots.at(psn.get()).rail);
        }
        let slot = self.slots.at_mut(psn.get());
        slot.rail = rail;
        slot.seq = seq;
        self.count_up(rail);
    }

    /// The frame `seq` of `rail`, which carried this segment, was lost.
    pub(super) fn lose(&mut self, psn: Psn, rail: RailId, seq: RailSeq) -> LostCopy {
        let slot = self.slots.at(psn.get());
        if slot.rail == rail && slot.seq == seq && self.is_sent(psn) {
            self.unsend(psn);
            LostCopy::Latest
        } else {
            LostCopy::Outdated
        }
    }

    /// Everything outstanding must be sent again.
    pub(super) fn unsend_all(&mut self) {
        let mut psn = self.una;
        while psn != self.next {
            if self.is_sent(psn) {
                self.unsend(psn);
            }
            psn = psn.next();
        }
    }

    /// Of what was sent, the last must be sent again.
    pub(super) fn unsend_last(&mut self) {
        let mut psn = self.next;
        while psn != self.una {
            psn = psn.previous();
            if self.is_sent(psn) {
                self.unsend(psn);
                return;
            }
        }
    }

    /// The oldest segment to be sent again.
    pub(super) fn first_unsent(&self) -> Option<Psn> {
        self.unsent.first_from(self.una)
    }

    /// The oldest segment is acknowledged and leaves the window. Gives its message.
    pub(super) fn retire_oldest(&mut self) -> MessageNumber {
        let psn = self.una;
        let slot = *self.slots.at(psn.get());
        if !self.unsent.remove(psn) {
            self.count_down(slot.rail);
        }
        self.una = psn.next();
        slot.message
    }

    /// Whether no outstanding segment before `psn` can arrive after what is sent over this rail now. Those on the rail
    /// itself cannot, nor can those that were sent over one that is gone: with nobody else to acknowledge them, what is
    /// behind would have to wait for the timer. A responder that has dropped one of them answers with a sequence NAK.
    pub(super) fn keeps_order_before(&self, psn: Psn, rail: RailId, rails: &impl Rails) -> bool {
        // Rails are asked once each.
        let mut gone = rail;
        let mut before = self.una;
        while before != psn {
            if !self.is_sent(before) {
                return false;
            }
            let other = self.slots.at(before.get()).rail;
            if other != rail && other != gone {
                if rails.is_up(other) {
                    return false;
                }
                gone = other;
            }
            before = before.next();
        }
        true
    }

    /// The same for all outstanding segments.
    pub(super) fn keeps_order(&self, rail: RailId, rails: &impl Rails) -> bool {
        let mut elsewhere = self.sent().saturating_sub(self.on_rail[rail.index()]);
        for (number, on_rail) in (0u8..).zip(self.on_rail) {
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

    /// Whether everything outstanding was sent over the rail that this segment was sent over.
    pub(super) fn is_all_on_rail_of(&self, psn: Psn) -> bool {
        let rail = self.slots.at(psn.get()).rail;
        self.sent() == self.on_rail[rail.index()]
    }

    /// Whether a frame with a segment may still be on its way.
    pub(super) fn is_in_flight(&self, rails: &impl Rails) -> bool {
        let mut psn = self.una;
        while psn != self.next {
            let slot = self.slots.at(psn.get());
            if self.is_sent(psn) && rails.frame_status(slot.rail, slot.seq) == FrameStatus::InFlight
            {
                return true;
            }
            psn = psn.next();
        }
        false
    }

    /// A segment is sent.
    pub(super) fn count_towards_ack_request(&mut self) {
        self.since_ack_request += 1;
    }

    /// Whether so many segments have been sent without requesting an acknowledgement that the window may soon be
    /// full, or is.
    pub(super) const fn needs_ack(&self) -> bool {
        self.since_ack_request >= self.size.div_ceil(ACK_REQUEST_SHARE) || self.is_full()
    }

    /// The acknowledgement of this segment is requested.
    pub(super) fn note_ack_request(&mut self, psn: Psn) {
        self.since_ack_request = 0;
        if self.ack_requested.is_before(psn.next()) {
            self.ack_requested = psn.next();
        }
    }

    /// What has been requested may never come.
    pub(super) fn forget_ack_requests(&mut self) {
        self.ack_requested = self.una;
    }

    /// The last segment before `end`, if some before it are outstanding and none of their acknowledgements up to `end`
    /// has been requested.
    pub(super) fn last_unrequested_before(&self, end: Psn) -> Option<Psn> {
        let waits = self.una.is_before(end) && self.ack_requested.is_before(end);
        waits.then_some(end.previous())
    }

    /// Whether the peer owes an acknowledgement.
    pub(super) const fn is_ack_owed(&self) -> bool {
        self.sent() > 0 && self.una.is_before(self.ack_requested)
    }

    fn is_sent(&self, psn: Psn) -> bool {
        !self.unsent.contains(psn)
    }

    /// How many are outstanding and not to be sent again.
    const fn sent(&self) -> u32 {
        self.outstanding().saturating_sub(self.unsent.len())
    }

    fn unsend(&mut self, psn: Psn) {
        self.unsent.insert(psn);
        self.count_down(self.slots.at(psn.get()).rail);
    }

    fn count_up(&mut self, rail: RailId) {
        self.on_rail[rail.index()] += 1;
    }

    fn count_down(&mut self, rail: RailId) {
        let on_rail = &mut self.on_rail[rail.index()];
        *on_rail = on_rail.saturating_sub(1);
    }
}
