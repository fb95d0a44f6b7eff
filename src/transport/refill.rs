// SPDX-License-Identifier: GPL-2.0

//! How many requests programs keep under way to a host, so that those they are about to post can go together.
//!
//! When all that was sent is acknowledged, a program that posts a stream posts a request for each that has completed. What is sent at once
//! is few, and its acknowledgement costs both hosts as much, and the next ones as long a wait, as that of many. So little requests wait
//! until there are as many as there were the last time: a program will post no more before one completes. If so many do not come,
//! they wait for as long as the last acknowledgement took, and the next time for as many as have come. Where nothing is posted for
//! as long as that, whether it is waited for or not, nobody is waited for the next time. Several programs count as one.

use super::ids::Duration;
use super::ids::Instant;

/// For how long a program is waited for, at most: as long as it takes a slow host to run it.
const LONGEST: Duration = Duration::from_micros(500);

/// What is known of the programs that post to a host, taken as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refill {
    /// The most requests under way between the last two departures: with that many, the program waits. None if nobody knows.
    full: u32,
    /// The most since the last one.
    most: u32,
    /// When that was.
    departed_at: Instant,
    /// Until when the program might be waited for, since the last acknowledgement.
    end: Instant,
    /// Whether what waits then has not gone.
    turn: Turn,
    /// Whether the program has posted something before the end.
    gain: Gain,
    /// The same of the acknowledgement before: what a program has done it is likely to do again.
    last_gain: Gain,
}

/// What the next departure carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// What was posted while nothing was under way.
    AfterAck,
    /// Something else, or nobody knows.
    Any,
}

/// What a wait would have brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gain {
    Nothing,
    Requests,
}

impl Refill {
    /// Of a program that has posted nothing.
    pub(super) const fn new() -> Self {
        Self {
            full: 0,
            most: 0,
            departed_at: Instant(0),
            end: Instant(0),
            turn: Turn::Any,
            gain: Gain::Requests,
            last_gain: Gain::Requests,
        }
    }

    /// A request was posted; `under_way` is how many there are now, with those that wait to be sent.
    pub(super) fn note_posted(&mut self, under_way: u32, now: impl FnOnce() -> Instant) {
        self.most = self.most.max(under_way);
        if self.gain == Gain::Nothing && now() < self.end {
            self.gain = Gain::Requests;
        }
    }

    /// Requests go out, with none that the peer owes an acknowledgement for.
    pub(super) fn note_departure(&mut self, now: Instant) {
        self.full = core::mem::take(&mut self.most);
        self.departed_at = now;
        self.turn = Turn::Any;
    }

    /// All that was sent is acknowledged.
    pub(super) fn note_acknowledged(&mut self, now: Instant) {
        let took = now.since(self.departed_at);
        self.end = now.after(took.min(LONGEST));
        self.turn = Turn::AfterAck;
        self.last_gain = core::mem::replace(&mut self.gain, Gain::Nothing);
    }

    /// Nobody is waited for until the next acknowledgement: there is nobody to see to the end of a wait.
    pub(super) fn stop(&mut self) {
        self.turn = Turn::Any;
    }

    /// Until when the program is waited for, which has `under_way` requests now.
    pub(super) fn waits_until(&self, under_way: u32, now: Instant) -> Option<Instant> {
        let is_worth_it = under_way < self.full && self.last_gain == Gain::Requests;
        let is_time = self.turn == Turn::AfterAck && now < self.end;
        (is_worth_it && is_time).then_some(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant(0).after(Duration::from_micros(micros))
    }

    /// A program posts requests at `micros` until `count` are under way, of which none was before.
    fn post(refill: &mut Refill, count: u32, micros: u64) {
        for under_way in 1..=count {
            refill.note_posted(under_way, || at(micros));
        }
    }

    /// All that are under way go at `micros`, and their acknowledgement takes 100 us.
    fn carry(refill: &mut Refill, micros: u64) {
        refill.note_departure(at(micros));
        refill.note_acknowledged(at(micros + 100));
    }

    /// Of a program that has posted so many, which went at once and were acknowledged after 100 us.
    fn acknowledged(count: u32) -> Refill {
        let mut refill = Refill::new();
        post(&mut refill, count, 0);
        carry(&mut refill, 0);
        refill
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
        let refill = acknowledged(16);
        for under_way in 0..16 {
            assert_eq!(refill.waits_until(under_way, at(150)), Some(at(200)));
        }
        assert_eq!(refill.waits_until(16, at(150)), None);
    }

    #[test]
    fn what_a_program_posts_while_others_are_under_way_counts() {
        let mut refill = Refill::new();
        post(&mut refill, 6, 0);
        refill.note_departure(at(0));
        for under_way in 7..=16 {
            refill.note_posted(under_way, || at(50));
        }
        refill.note_acknowledged(at(100));
        assert_eq!(refill.waits_until(10, at(100)), None, "6 were the most");
        refill.note_departure(at(100));
        refill.note_posted(11, || at(150));
        refill.note_acknowledged(at(200));
        assert_eq!(refill.waits_until(10, at(200)), Some(at(300)));
    }

    #[test]
    fn nobody_waits_for_longer_than_an_acknowledgement_takes() {
        let mut refill = acknowledged(16);
        post(&mut refill, 3, 150);
        assert_eq!(refill.waits_until(3, at(200)), None);
        carry(&mut refill, 200);
        assert_eq!(refill.waits_until(3, at(300)), None, "three were all");
        assert_eq!(refill.waits_until(2, at(300)), Some(at(400)));
    }

    #[test]
    fn nor_for_long_if_that_takes_long() {
        let mut refill = Refill::new();
        post(&mut refill, 16, 0);
        refill.note_departure(at(0));
        refill.note_acknowledged(at(1_000_000));
        let until = at(1_000_000).after(LONGEST);
        assert_eq!(refill.waits_until(0, at(1_000_000)), Some(until));
    }

    #[test]
    fn nobody_waits_while_an_acknowledgement_is_owed() {
        let mut refill = acknowledged(16);
        post(&mut refill, 16, 150);
        refill.note_departure(at(150));
        assert_eq!(refill.waits_until(0, at(160)), None);
    }

    #[test]
    fn a_program_that_was_waited_for_in_vain_is_not_the_next_time() {
        let mut refill = Refill::new();
        post(&mut refill, 8, 0);
        refill.note_departure(at(0));
        // Data, and a flag behind it that is on its own then.
        refill.note_posted(9, || at(10));
        refill.note_acknowledged(at(100));
        assert_eq!(refill.waits_until(1, at(100)), Some(at(200)));
        for cycle in 1..4 {
            let begin = cycle * 1000;
            refill.note_departure(at(begin - 700));
            refill.note_acknowledged(at(begin - 600));
            post(&mut refill, 8, begin);
            refill.note_departure(at(begin));
            refill.note_posted(9, || at(begin + 10));
            refill.note_acknowledged(at(begin + 100));
            assert_eq!(refill.waits_until(1, at(begin + 100)), None, "{cycle}");
        }
    }

    #[test]
    fn one_that_posts_in_time_is_waited_for_again() {
        let mut refill = acknowledged(16);
        carry(&mut refill, 1000);
        assert_eq!(refill.waits_until(0, at(1100)), None, "it posted nothing");
        post(&mut refill, 16, 1150);
        carry(&mut refill, 1150);
        assert_eq!(refill.waits_until(0, at(1250)), Some(at(1350)));
    }
}
