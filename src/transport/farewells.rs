// SPDX-License-Identifier: GPL-2.0

//! Last acknowledgements of QPs that are gone.
//!
//! A process may destroy its QP as soon as it has seen its last message. Without an acknowledgement the
//! peer would repeat that message until it fails. That one may still be due, or it has been sent and gets lost.

use super::acknowledgement;
use super::acknowledgement::Standing;
use super::frame::AckHeader;
use super::ids::Qpn;
use super::requester::Requester;
use super::responder::Responder;
use super::storage::Storage;

/// How many are kept; when there are more, the oldest are forgotten, those that were sent first, and if they were
/// needed, their peers time out.
pub const CAPACITY: usize = 64;

/// The last acknowledgement of a QP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Farewell {
    /// What it says.
    pub ack: AckHeader,
    /// Whether that was said.
    pub standing: Standing,
}

impl Farewell {
    /// What is to be said of the QP with these two sides, which goes away; nothing if it was not connected.
    pub fn take<S: Storage>(
        requester: &mut Requester<S>,
        responder: &mut Responder<S>,
    ) -> Option<Self> {
        let standing = acknowledgement::standing(requester, responder);
        let ack = acknowledgement::take(requester, responder)?;
        Some(Self { ack, standing })
    }
}

/// What is kept of the QPs of one peer.
///
/// # Invariants
///
/// `due` of the entries are [`Standing::Due`]. No two are of the same QP.
pub struct Farewells {
    /// Each with its number, which tells the order in which they came.
    entries: [Option<(u32, Farewell)>; CAPACITY],
    next: u32,
    due: usize,
}

impl Farewells {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            entries: [None; CAPACITY],
            next: 0,
            due: 0,
        }
    }

    /// A QP is gone.
    pub fn add(&mut self, farewell: Farewell) {
        let place = self.place_for(farewell.ack.src_qpn);
        let number = self.next;
        self.next = number.wrapping_add(1);
        if let Some(entry) = self.entries.get_mut(place) {
            if is_due(entry) {
                self.due = self.due.saturating_sub(1);
            }
            *entry = Some((number, farewell));
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
        let (_, farewell) = self
            .entries
            .iter_mut()
            .find(|entry| is_due(entry))?
            .as_mut()?;
        farewell.standing = Standing::Sent;
        self.due = self.due.saturating_sub(1);
        Some(farewell.ack)
    }

    /// An acknowledgement of the QP, which is gone, was lost. Says whether it is due now.
    pub fn on_lost(&mut self, qpn: Qpn) -> Standing {
        let mut farewells = self.entries.iter_mut().flatten();
        let Some((_, farewell)) = farewells.find(|(_, farewell)| farewell.ack.src_qpn == qpn)
        else {
            return Standing::Sent;
        };
        if farewell.standing == Standing::Sent {
            farewell.standing = Standing::Due;
            self.due += 1;
        }
        Standing::Due
    }

    /// Whether the farewell of this QP is due.
    pub fn is_due(&self, qpn: Qpn) -> bool {
        self.due > 0
            && self
                .entries
                .iter()
                .any(|entry| is_of(entry, qpn) && is_due(entry))
    }

    /// The QP begins anew: what its earlier life had to say is not said any more.
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

    /// Where the farewell of a QP goes: in place of an earlier one of a QP with its number, or else of what is needed
    /// least.
    fn place_for(&self, qpn: Qpn) -> usize {
        let cost = |entry: &Option<(u32, Farewell)>| match entry {
            Some((_, farewell)) if farewell.ack.src_qpn == qpn => (0, 0),
            None => (1, 0),
            Some((number, farewell)) => {
                let newness = u32::MAX - self.next.wrapping_sub(*number);
                match farewell.standing {
                    Standing::Sent => (2, newness),
                    Standing::Due => (3, newness),
                }
            }
        };
        let places = self.entries.iter().enumerate();
        let cheapest = places.min_by_key(|(_, entry)| cost(entry));
        cheapest.map_or(0, |(place, _)| place)
    }
}

impl Default for Farewells {
    fn default() -> Self {
        Self::new()
    }
}

fn is_of(entry: &Option<(u32, Farewell)>, qpn: Qpn) -> bool {
    matches!(entry, Some((_, farewell)) if farewell.ack.src_qpn == qpn)
}

fn is_due(entry: &Option<(u32, Farewell)>) -> bool {
    matches!(entry, Some((_, farewell)) if farewell.standing == Standing::Due)
}

#[cfg(test)]
mod tests {
    use super::super::frame::Syndrome;
    use super::super::ids::NakSerial;
    use super::super::ids::Psn;
    use super::*;

    fn farewell(qpn: u32, standing: Standing) -> Farewell {
        Farewell {
            ack: AckHeader {
                dest_qpn: Qpn::new(1),
                src_qpn: Qpn::new(qpn),
                psn: Psn::new(5),
                response_psn: Psn::new(6),
                syndrome: Syndrome::Ack,
                nak_serial: NakSerial::NONE,
            },
            standing,
        }
    }

    /// Numbers of the QPs whose farewells are due, taken.
    fn taken(farewells: &mut Farewells) -> Vec<u32> {
        let mut taken: Vec<u32> = core::iter::from_fn(|| farewells.take_due())
            .map(|ack| ack.src_qpn.get())
            .collect();
        taken.sort_unstable();
        taken
    }

    #[test]
    fn what_is_due_is_sent_once_and_again_when_it_is_lost() {
        let mut farewells = Farewells::new();
        farewells.add(farewell(7, Standing::Due));
        farewells.add(farewell(8, Standing::Sent));
        assert_eq!(taken(&mut farewells), [7]);
        for qpn in [7, 8] {
            assert_eq!(farewells.on_lost(Qpn::new(qpn)), Standing::Due);
            assert_eq!(farewells.on_lost(Qpn::new(qpn)), Standing::Due);
        }
        assert_eq!(farewells.on_lost(Qpn::new(9)), Standing::Sent);
        assert_eq!(taken(&mut farewells), [7, 8]);
        assert_eq!(taken(&mut farewells), []);
    }

    #[test]
    fn a_number_that_was_given_again_is_kept_once() {
        let mut farewells = Farewells::new();
        farewells.add(farewell(7, Standing::Due));
        farewells.add(farewell(7, Standing::Due));
        assert_eq!(taken(&mut farewells), [7]);
        farewells.add(farewell(7, Standing::Due));
        farewells.add(farewell(7, Standing::Sent));
        assert_eq!(taken(&mut farewells), []);
    }

    #[test]
    fn one_that_is_withdrawn_is_not_said_any_more() {
        let mut farewells = Farewells::new();
        farewells.add(farewell(7, Standing::Due));
        farewells.add(farewell(8, Standing::Sent));
        assert!(farewells.is_due(Qpn::new(7)));
        assert!(!farewells.is_due(Qpn::new(8)));
        for qpn in [7, 8, 9] {
            farewells.withdraw(Qpn::new(qpn));
            assert!(!farewells.is_due(Qpn::new(qpn)));
            assert_eq!(farewells.on_lost(Qpn::new(qpn)), Standing::Sent);
        }
        assert_eq!(taken(&mut farewells), []);
    }

    #[test]
    fn the_oldest_go_first_and_what_was_sent_before_what_is_due() {
        let mut farewells = Farewells::new();
        let all = CAPACITY as u32;
        farewells.add(farewell(0, Standing::Due));
        for qpn in 1..all {
            farewells.add(farewell(qpn, Standing::Sent));
        }
        for qpn in all..2 * all - 1 {
            farewells.add(farewell(qpn, Standing::Due));
        }
        let expected: Vec<u32> = core::iter::once(0).chain(all..2 * all - 1).collect();
        farewells.add(farewell(1000, Standing::Due));
        let mut expected: Vec<u32> = expected.into_iter().skip(1).collect();
        expected.push(1000);
        assert_eq!(taken(&mut farewells), expected);
        assert_eq!(farewells.on_lost(Qpn::new(0)), Standing::Sent);
    }
}
