// SPDX-License-Identifier: GPL-2.0

//! Sending side of a rail: what is in flight.

use super::InFlight;
use super::RailViolation;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailSeq;
use crate::transport::storage::BadTableLength;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;
use crate::transport::storage::MAX_TABLE;

/// Entry of the table of frames in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct TxEntry {
    /// Nothing once the contents have been handed back as lost.
    item: Option<InFlight>,
    /// Length of the frame in the stream.
    bytes: u32,
}

/// How a frame fared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameStatus {
    /// It may still be on its way.
    InFlight,
    /// It has been acknowledged, or handed back as lost.
    Settled,
}

/// Frames sent and not yet acknowledged.
///
/// # Invariants
///
/// `next` is at most as many numbers ahead of `oldest` as the table has entries; `bytes` is the sum
/// of the entries between them.
pub struct RailTx<S: Storage> {
    table: Ring<S, TxEntry>,
    oldest: RailSeq,
    next: RailSeq,
    bytes: u32,
    byte_limit: u32,
    /// What is still to be handed back.
    lost: LostRange,
}

/// Why frames are handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LossCause {
    /// The peer says so; it will acknowledge them all the same.
    Reported,
    /// The rail is dead; nobody will acknowledge them.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
struct LostRange {
    from: RailSeq,
    to: RailSeq,
    cause: LossCause,
}

impl<S: Storage> RailTx<S> {
    /// A rail with nothing in flight. At most `table.len()` frames (a power of two) and
    /// `byte_limit` bytes will be in flight; a single frame is always allowed.
    ///
    /// # Errors
    ///
    /// If the length of `table` is not a power of two.
    pub fn new(table: S::Table<TxEntry>, byte_limit: u32) -> Result<Self, BadTableLength> {
        Ok(Self {
            table: Ring::new(table, MAX_TABLE)?,
            oldest: RailSeq::FIRST,
            next: RailSeq::FIRST,
            bytes: 0,
            byte_limit,
            lost: LostRange {
                from: RailSeq::FIRST,
                to: RailSeq::FIRST,
                cause: LossCause::Reported,
            },
        })
    }

    /// Whether a frame of this length in the stream may be sent now.
    pub fn can_send(&self, frame_len: u32) -> bool {
        let frames = self.in_flight();
        frames < self.table.len()
            && (frames == 0 || self.bytes.saturating_add(frame_len) <= self.byte_limit)
    }

    /// The number the next frame will have.
    pub const fn next_seq(&self) -> RailSeq {
        self.next
    }

    /// The oldest number not acknowledged yet; equal to [`Self::next_seq`] if nothing is in flight.
    pub const fn oldest(&self) -> RailSeq {
        self.oldest
    }

    /// The number of frames in flight.
    pub const fn in_flight(&self) -> u32 {
        self.next.distance_from(self.oldest)
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.oldest == self.next
    }

    /// Notes that frame [`Self::next_seq`] carries `item` and moves on to the next number. The
    /// caller asked [`Self::can_send`] before; with a full table the number is `None` and nothing
    /// happens.
    pub fn record(&mut self, item: InFlight, frame_len: u32) -> Option<RailSeq> {
        if self.next.distance_from(self.oldest) >= self.table.len() {
            return None;
        }
        let seq = self.next;
        *self.table.at_mut(seq.0) = TxEntry {
            item: Some(item),
            bytes: frame_len,
        };
        self.bytes = self.bytes.saturating_add(frame_len);
        self.next = seq.next();
        Some(seq)
    }

    /// The peer has received all frames before `ack`, or has reported them lost.
    ///
    /// # Errors
    ///
    /// If such frames were never sent. Acknowledgements older than one seen before change nothing.
    pub fn on_ack(&mut self, ack: RailSeq) -> Result<(), RailViolation> {
        if ack.is_before(self.oldest) {
            return Ok(());
        }
        if ack.distance_from(self.oldest) > self.next.distance_from(self.oldest) {
            return Err(RailViolation::AckBeyondSent);
        }
        if self.lost.from.is_before(ack) {
            self.lost.from = if self.lost.to.is_before(ack) {
                self.lost.to
            } else {
                ack
            };
        }
        while self.oldest != ack {
            self.release_oldest();
        }
        Ok(())
    }

    /// The peer did not get frames `from..to`: [`Self::next_lost`] gives what they carried. Numbers
    /// that have been acknowledged before are skipped.
    ///
    /// # Errors
    ///
    /// If such frames were never sent.
    pub fn on_lost(&mut self, from: RailSeq, to: RailSeq) -> Result<(), RailViolation> {
        let sent = self.next.distance_from(self.oldest);
        let from = if from.is_before(self.oldest) {
            self.oldest
        } else {
            from
        };
        if to.is_before(from) {
            return Ok(());
        }
        if to.distance_from(self.oldest) > sent {
            return Err(RailViolation::LostBeyondSent);
        }
        // What an owner has not fetched yet is kept by widening the range: frames between the two come
        // twice, and duplicates are dropped.
        self.lost = if self.lost.from == self.lost.to {
            LostRange {
                from,
                to,
                cause: LossCause::Reported,
            }
        } else {
            LostRange {
                cause: self.lost.cause,
                from: if from.is_before(self.lost.from) {
                    from
                } else {
                    self.lost.from
                },
                to: if to.is_before(self.lost.to) {
                    self.lost.to
                } else {
                    to
                },
            }
        };
        Ok(())
    }

    /// The rail is dead: [`Self::next_lost`] gives all that is in flight. Numbers go on from where they
    /// are, so that a number never means two frames.
    pub fn abandon(&mut self) {
        self.lost = LostRange {
            from: self.oldest,
            to: self.next,
            cause: LossCause::Abandoned,
        };
    }

    /// The next item to hand back to its owner. One at a time, so that the caller can let go of its
    /// lock in between; all must be fetched before the rail carries frames again.
    pub fn next_lost(&mut self) -> Option<(RailSeq, InFlight)> {
        while self.lost.from != self.lost.to {
            let seq = self.lost.from;
            self.lost.from = seq.next();
            let item = self.table.at_mut(seq.0).item.take();
            if self.oldest == seq && self.lost.cause == LossCause::Abandoned {
                self.release_oldest();
            }
            if let Some(item) = item {
                return Some((seq, item));
            }
        }
        None
    }

    /// How the frame with number `seq` fared.
    pub fn frame_status(&self, seq: RailSeq) -> FrameStatus {
        let sent = self.next.distance_from(self.oldest);
        let in_flight =
            seq.distance_from(self.oldest) < sent && self.table.at(seq.0).item.is_some();
        if in_flight {
            FrameStatus::InFlight
        } else {
            FrameStatus::Settled
        }
    }

    /// Whether something of this queue pair may still be on its way.
    pub fn carries(&self, qpn: Qpn) -> bool {
        let mut seq = self.oldest;
        while seq != self.next {
            let item = self.table.at(seq.0).item;
            if item.is_some_and(|item| item.qpn() == Some(qpn)) {
                return true;
            }
            seq = seq.next();
        }
        false
    }

    fn release_oldest(&mut self) {
        let entry = self.table.at_mut(self.oldest.0);
        entry.item = None;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.oldest = self.oldest.next();
    }
}
