// SPDX-License-Identifier: GPL-2.0

//! How many requests a program keeps under way, so that those it is about to post can go together.
//!
//! When all that was sent is acknowledged, a program that posts a stream posts a request for each that has completed. What is sent at once
//! is few, and its acknowledgement costs both hosts as much, and the next ones as long a wait, as that of many. So little requests wait until there are as
//! many as the program had under way the last time: it will post no more before one completes. If so many do not come, they wait for as
//! long as the last acknowledgement took, and the next time for as many as have come.

use super::ids::Duration;
use super::ids::Instant;

/// For how long a program is waited for, at most: as long as it takes a slow host to run it.
const LONGEST: Duration = Duration::from_micros(500);

/// What a connection knows of its program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refill {
    /// The most requests under way between the last two departures: with that many, the program waits.
    full: u32,
    /// The most since the last one.
    most: u32,
    /// When that was.
    departed_at: Instant,
    /// The program is waited for until then.
    until: Option<Instant>,
}

impl Refill {
    /// Of a program that has posted nothing.
    pub(super) const fn new() -> Self {
        Self {
            full: 0,
            most: 0,
            departed_at: Instant(0),
            until: None,
        }
    }

    /// A request was posted; `under_way` is how many there are now, with those that wait to be sent.
    pub(super) fn note_posted(&mut self, under_way: u32) {
        self.most = self.most.max(under_way);
    }

    /// Requests go out, with none that the peer owes an acknowledgement for.
    pub(super) fn note_departure(&mut self, now: Instant) {
        self.full = core::mem::take(&mut self.most);
        self.departed_at = now;
        self.until = None;
    }

    /// All that was sent is acknowledged.
    pub(super) fn note_acknowledged(&mut self, now: Instant) {
        let took = now.since(self.departed_at);
        self.until = Some(now.after(took.min(LONGEST)));
    }

    /// Until when the program is waited for, which has `under_way` requests now.
    pub(super) fn waits_until(&self, under_way: u32, now: Instant) -> Option<Instant> {
        self.until
            .filter(|&until| now < until && under_way < self.full)
    }

    /// Whether the program was waited for, and has posted what it was waited for.
    pub(super) fn is_full(&self, under_way: u32) -> bool {
        self.until.is_some() && under_way >= self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant(0).after(Duration::from_micros(micros))
    }

    /// A program posts requests until `count` are under way, of which none was before.
    fn post(refill: &mut Refill, count: u32) {
        for under_way in 1..=count {
            refill.note_posted(under_way);
        }
    }

    /// All that are under way go at `micros`, and their acknowledgement takes 100 us.
    fn carry(refill: &mut Refill, micros: u64) {
        refill.note_departure(at(micros));
        refill.note_acknowledged(at(micros + 100));
    }

    #[test]
    fn nothing_is_known_of_a_program_before_it_has_posted() {
        let mut refill = Refill::new();
        assert_eq!(refill.waits_until(0, at(0)), None);
        carry(&mut refill, 0);
        assert_eq!(refill.waits_until(0, at(100)), None);
    }

    #[test]
    fn as_many_are_waited_for_as_there_were() {
        let mut refill = Refill::new();
        post(&mut refill, 16);
        carry(&mut refill, 0);
        for under_way in 0..16 {
            assert_eq!(refill.waits_until(under_way, at(150)), Some(at(200)));
            assert!(!refill.is_full(under_way));
        }
        assert_eq!(refill.waits_until(16, at(150)), None);
        assert!(refill.is_full(16));
    }

    #[test]
    fn what_a_program_posts_while_others_are_under_way_counts() {
        let mut refill = Refill::new();
        post(&mut refill, 6);
        refill.note_departure(at(0));
        for under_way in 7..=16 {
            refill.note_posted(under_way);
        }
        refill.note_acknowledged(at(100));
        assert_eq!(refill.waits_until(10, at(100)), None, "6 were the most");
        carry(&mut refill, 100);
        assert_eq!(refill.waits_until(10, at(200)), Some(at(300)));
    }

    #[test]
    fn nobody_waits_for_longer_than_an_acknowledgement_takes() {
        let mut refill = Refill::new();
        post(&mut refill, 16);
        carry(&mut refill, 0);
        post(&mut refill, 3);
        assert_eq!(refill.waits_until(3, at(200)), None);
        carry(&mut refill, 200);
        assert_eq!(refill.waits_until(3, at(300)), None, "three were all");
        assert_eq!(refill.waits_until(2, at(300)), Some(at(400)));
    }

    #[test]
    fn nor_for_long_if_that_takes_long() {
        let mut refill = Refill::new();
        post(&mut refill, 16);
        refill.note_departure(at(0));
        refill.note_acknowledged(at(1_000_000));
        let until = at(1_000_000).after(LONGEST);
        assert_eq!(refill.waits_until(0, at(1_000_000)), Some(until));
    }

    #[test]
    fn nobody_waits_while_an_acknowledgement_is_owed() {
        let mut refill = Refill::new();
        post(&mut refill, 16);
        carry(&mut refill, 0);
        post(&mut refill, 16);
        refill.note_departure(at(150));
        assert_eq!(refill.waits_until(0, at(160)), None);
        assert!(!refill.is_full(16));
    }
}
