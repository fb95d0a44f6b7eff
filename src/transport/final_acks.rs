// SPDX-License-Identifier: GPL-2.0

//! Last acknowledgements of QPs that are gone.
//!
//! A process may destroy its QP as soon as it has seen its last message. Without an acknowledgement the
//! peer would repeat that message until it fails. That one may still be due, or it has been sent and gets lost.

use super::frame::AckHeader;
use super::ids::Qpn;

/// How many are kept; when there are more, the oldest are forgotten, those that were sent first, and if they were
/// needed, their peers time out.
pub const CAPACITY: usize = 64;

/// Whether an acknowledgement has been sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AckState {
    /// Not since there was last something to say, or since it was last lost.
    Due,
    /// It is under way, or has arrived.
    Sent,
}

/// The last acknowledgement of a QP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FinalAck {
    /// The acknowledgement itself.
    pub ack: AckHeader,
    /// Whether it has been sent.
    pub state: AckState,
}

/// What is kept of the QPs of one peer.
///
/// # Invariants
///
/// `due` of the entries are [`AckState::Due`]. No two are of the same QP.
pub struct FinalAcks {
    /// Each with its number, which tells the order in which they came.
    entries: [Option<(u32, FinalAck)>; CAPACITY],
    next: u32,
    due: usize,
}

impl FinalAcks {
    /// No acknowledgement is kept yet.
    pub const fn new() -> Self {
        Self {
            entries: [None; CAPACITY],
            next: 0,
            due: 0,
        }
    }

    /// A QP is gone.
    pub fn add(&mut self, final_ack: FinalAck) {
        let place = self.place_for(final_ack.ack.src_qpn);
        let number = self.next;
        self.next = number.wrapping_add(1);
        if let Some(entry) = self.entries.get_mut(place) {
            if is_due(entry) {
                self.due = self.due.saturating_sub(1);
            }
            *entry = Some((number, final_ack));
            if is_due(entry) {
                self.due += 1;
            }
        }
    }

    /// How many are due.
    pub const fn due(&self) -> usize {
        self.due
    }

    /// An acknowledgement to send now, if one is due.
    pub fn take_due(&mut self) -> Option<AckHeader> {
        if self.due == 0 {
            return None;
        }
        let (_, final_ack) = self
            .entries
            .iter_mut()
            .find(|entry| is_due(entry))?
            .as_mut()?;
        final_ack.state = AckState::Sent;
        self.due = self.due.saturating_sub(1);
        Some(final_ack.ack)
    }

    /// An acknowledgement of the QP, which is gone, was lost. Says whether it is due now.
    pub fn on_lost(&mut self, qpn: Qpn) -> AckState {
        let mut final_acks = self.entries.iter_mut().flatten();
        let Some((_, final_ack)) = final_acks.find(|(_, final_ack)| final_ack.ack.src_qpn == qpn)
        else {
            return AckState::Sent;
        };
        if final_ack.state == AckState::Sent {
            final_ack.state = AckState::Due;
            self.due += 1;
        }
        AckState::Due
    }

    /// Whether the last acknowledgement of this QP is due.
    pub fn is_due(&self, qpn: Qpn) -> bool {
        self.due > 0
            && self
                .entries
                .iter()
                .any(|entry| is_of(entry, qpn) && is_due(entry))
    }

    /// The QP begins anew: the last acknowledgement of its earlier life is not sent any more.
    pub fn withdraw(&mut self, qpn: Qpn) {
        for entry in &mut self.entries {
            if is_of(entry, qpn) {
                if is_due(entry) {
                    self.due = self.due.saturating_sub(1);
                }
                *entry = None;
            }
        }
    }

    /// Where the last acknowledgement of a QP goes: in place of an earlier one of a QP with its number, or else of what is needed
    /// least.
    fn place_for(&self, qpn: Qpn) -> usize {
        let cost = |entry: &Option<(u32, FinalAck)>| match entry {
            Some((_, final_ack)) if final_ack.ack.src_qpn == qpn => (0, 0),
            None => (1, 0),
            Some((number, final_ack)) => {
                let newness = u32::MAX - self.next.wrapping_sub(*number);
                match final_ack.state {
                    AckState::Sent => (2, newness),
                    AckState::Due => (3, newness),
                }
            }
        };
        let places = self.entries.iter().enumerate();
        let cheapest = places.min_by_key(|(_, entry)| cost(entry));
        cheapest.map_or(0, |(place, _)| place)
    }
}

impl Default for FinalAcks {
    fn default() -> Self {
        Self::new()
    }
}

fn is_of(entry: &Option<(u32, FinalAck)>, qpn: Qpn) -> bool {
    matches!(entry, Some((_, final_ack)) if final_ack.ack.src_qpn == qpn)
}

fn is_due(entry: &Option<(u32, FinalAck)>) -> bool {
    matches!(entry, Some((_, final_ack)) if final_ack.state == AckState::Due)
}

#[cfg(test)]
mod tests {
    use super::super::frame::Syndrome;
    use super::super::ids::NakSerial;
    use super::super::ids::Psn;
    use super::*;

    fn final_ack(qpn: u32, state: AckState) -> FinalAck {
        FinalAck {
            ack: AckHeader {
                dest_qpn: Qpn::new(1),
                src_qpn: Qpn::new(qpn),
                psn: Psn::new(5),
                response_psn: Psn::new(6),
                syndrome: Syndrome::Ack,
                nak_serial: NakSerial::NONE,
            },
            state,
        }
    }

    /// Numbers of the QPs whose last acknowledgements are due, taken.
    fn taken(final_acks: &mut FinalAcks) -> Vec<u32> {
        let mut taken: Vec<u32> = core::iter::from_fn(|| final_acks.take_due())
            .map(|ack| ack.src_qpn.get())
            .collect();
        taken.sort_unstable();
        taken
    }

    #[test]
    fn what_is_due_is_sent_once_and_again_when_it_is_lost() {
        let mut final_acks = FinalAcks::new();
        final_acks.add(final_ack(7, AckState::Due));
        final_acks.add(final_ack(8, AckState::Sent));
        assert_eq!(taken(&mut final_acks), [7]);
        for qpn in [7, 8] {
            assert_eq!(final_acks.on_lost(Qpn::new(qpn)), AckState::Due);
            assert_eq!(final_acks.on_lost(Qpn::new(qpn)), AckState::Due);
        }
        assert_eq!(final_acks.on_lost(Qpn::new(9)), AckState::Sent);
        assert_eq!(taken(&mut final_acks), [7, 8]);
        assert_eq!(taken(&mut final_acks), []);
    }

    #[test]
    fn a_number_that_was_given_again_is_kept_once() {
        let mut final_acks = FinalAcks::new();
        final_acks.add(final_ack(7, AckState::Due));
        final_acks.add(final_ack(7, AckState::Due));
        assert_eq!(taken(&mut final_acks), [7]);
        final_acks.add(final_ack(7, AckState::Due));
        final_acks.add(final_ack(7, AckState::Sent));
        assert_eq!(taken(&mut final_acks), []);
    }

    #[test]
    fn one_that_is_withdrawn_is_not_said_any_more() {
        let mut final_acks = FinalAcks::new();
        final_acks.add(final_ack(7, AckState::Due));
        final_acks.add(final_ack(8, AckState::Sent));
        assert!(final_acks.is_due(Qpn::new(7)));
        assert!(!final_acks.is_due(Qpn::new(8)));
        for qpn in [7, 8, 9] {
            final_acks.withdraw(Qpn::new(qpn));
            assert!(!final_acks.is_due(Qpn::new(qpn)));
            assert_eq!(final_acks.on_lost(Qpn::new(qpn)), AckState::Sent);
        }
        assert_eq!(taken(&mut final_acks), []);
    }

    #[test]
    fn the_oldest_go_first_and_what_was_sent_before_what_is_due() {
        let mut final_acks = FinalAcks::new();
        let all = CAPACITY as u32;
        final_acks.add(final_ack(0, AckState::Due));
        for qpn in 1..all {
            final_acks.add(final_ack(qpn, AckState::Sent));
        }
        for qpn in all..2 * all - 1 {
            final_acks.add(final_ack(qpn, AckState::Due));
        }
        let expected: Vec<u32> = core::iter::once(0).chain(all..2 * all - 1).collect();
        final_acks.add(final_ack(1000, AckState::Due));
        let mut expected: Vec<u32> = expected.into_iter().skip(1).collect();
        expected.push(1000);
        assert_eq!(taken(&mut final_acks), expected);
        assert_eq!(final_acks.on_lost(Qpn::new(0)), AckState::Sent);
    }
}
