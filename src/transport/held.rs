// SPDX-License-Identifier: GPL-2.0

//! What a host holds back for a moment of that which it has for another one.
//!
//! Programs that talk to each other answer within microseconds. An acknowledgement that goes out before the answer costs both
//! hosts a frame, and the program the time in which it is sent. One that waits in vain is late. So it waits where the last one
//! would have found something to ride on, and not after one that waited in vain.
//!
//! Little messages of a program that posts a stream of them wait until those before them are acknowledged, and go out together.
//! Were they to go with the next acknowledgement, whatever it is for, a host that is slow would go on sending few at a time: each
//! acknowledgement of few lets the program post as few. So do short ones, until they are some: little is said for both here. When all is
//! acknowledged, they wait a moment for the program (`refill.rs`).

use super::ids::Duration;
use super::ids::Instant;

/// How long an acknowledgement waits: what a program takes to find its message and to post the answer, on a slow host as well.
pub const RIDE: Duration = Duration::from_micros(100);

/// For how long little messages are held back that wait for an acknowledgement: longer than a good one takes on a slow host. It may get lost.
pub const GATHER: Duration = Duration::from_micros(1_000);

/// A program that posts no more requests than this at a time waits for them: they go at once. What a program posts that posts more
/// may wait for acknowledgements, and so those are not held back.
pub const FEW: u32 = 4;

/// What the next acknowledgement has to expect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outlook {
    /// Nobody knows, or the last one has waited in vain.
    Unknown,
    /// The last one went out at this time, at once.
    SentAt(Instant),
    /// Something to ride on: the last one rode, or would have.
    Ride,
}

/// What is held back, in the list of queue pairs that have something for a host.
#[derive(Clone, Debug)]
pub struct Held {
    outlook: Outlook,
    acks: Acks,
    /// Since when messages are.
    messages_since: Option<Instant>,
    /// Until when a program is waited for that is about to post more of them.
    program_until: Option<Instant>,
    /// Whether there is something that is not.
    others: Others,
}

/// The acknowledgements in the list that may be held back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Acks {
    None,
    /// Nobody has asked for them yet.
    New,
    /// They are held back since then.
    Since(Instant),
}

/// What is in the list that is not held back, and that no rail was told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Others {
    None,
    Some,
}

/// When what is in the list goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Departure {
    /// Now.
    Now,
    /// With what comes until then, or then.
    Until(Instant),
    /// When all is acknowledged that was sent before, which is dealt with by who asks.
    WithAck,
}

impl Held {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            outlook: Outlook::Unknown,
            acks: Acks::None,
            messages_since: None,
            program_until: None,
            others: Others::None,
        }
    }

    /// An acknowledgement got into the list that may wait a moment for something to ride on.
    pub fn note_ack(&mut self) {
        if self.acks == Acks::None {
            self.acks = Acks::New;
        }
    }

    /// Something got into the list that goes as soon as somebody asks.
    pub fn note_other(&mut self) {
        self.others = Others::Some;
    }

    /// A program has posted something that goes at once.
    pub fn note_post(&mut self, now: impl FnOnce() -> Instant) {
        // What has waited rides with it.
        self.acks = Acks::None;
        if let Outlook::SentAt(at) = self.outlook {
            if now() < at.after(RIDE) {
                self.outlook = Outlook::Ride;
            }
        }
    }

    /// There are little messages, for which the program may wait until all that the peer owes acknowledgements for is acknowledged.
    /// Says whether they do: not if an acknowledgement waits for something like them, or others have been waiting for long.
    pub fn hold_message(&mut self, now: Instant) -> bool {
        let since = *self.messages_since.get_or_insert(now);
        self.acks == Acks::None && now < since.after(GATHER)
    }

    /// There are little messages that may wait for the program to post more. Says whether they do: not if it is not waited for any more, as
    /// when all else that was in the list has gone.
    pub fn hold_for_program(&mut self, now: Instant) -> bool {
        self.program_until(now).is_some() && self.hold_message(now)
    }

    /// A program is waited for until then that is about to post more little messages. Of several, the first that is not waited for any more
    /// ends the wait.
    pub fn wait_for_program(&mut self, until: Instant) {
        self.program_until = Some(self.program_until.map_or(until, |other| other.min(until)));
    }

    /// Until when one is waited for. One that was waited for in vain is forgotten.
    pub fn program_until(&mut self, now: Instant) -> Option<Instant> {
        self.program_until = self.program_until.filter(|&until| now < until);
        self.program_until
    }

    /// Somebody asks for what is in the list.
    pub fn departure(&mut self, now: Instant) -> Departure {
        let is_late = |since: Instant| now >= since.after(GATHER);
        if self.others == Others::Some || self.messages_since.is_some_and(is_late) {
            return Departure::Now;
        }
        let since = match self.acks {
            Acks::None if self.messages_since.is_some() => {
                return match self.program_until {
                    Some(until) if now < until => Departure::Until(until),
                    Some(_) => Departure::Now,
                    None => Departure::WithAck,
                }
            }
            Acks::None => return Departure::Now,
            Acks::New => now,
            Acks::Since(since) => since,
        };
        if self.outlook != Outlook::Ride {
            self.outlook = Outlook::SentAt(now);
            return Departure::Now;
        }
        let until = match self.program_until {
            Some(other) if self.messages_since.is_some() => other.min(since.after(RIDE)),
            Some(_) | None => since.after(RIDE),
        };
        self.acks = Acks::Since(since);
        if now < until {
            Departure::Until(until)
        } else {
            Departure::Now
        }
    }

    /// All that is in the list goes, or has gone.
    pub fn release(&mut self) {
        if let Acks::Since(_) = self.acks {
            // With something else than what a program has posted, or alone: they have waited in vain.
            self.outlook = Outlook::Unknown;
        }
        self.acks = Acks::None;
        self.messages_since = None;
        self.program_until = None;
        self.others = Others::None;
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(0);

    fn at(micros: u64) -> Instant {
        NOW.after(Duration::from_micros(micros))
    }

    /// An acknowledgement is in the list, and somebody asks for it.
    fn ask(held: &mut Held, micros: u64) -> Departure {
        held.note_ack();
        held.departure(at(micros))
    }

    /// After an acknowledgement that would have found something to ride on.
    fn talking() -> Held {
        let mut held = Held::new();
        assert_eq!(ask(&mut held, 0), Departure::Now);
        held.release();
        held.note_post(|| at(10));
        held
    }

    #[test]
    fn acknowledgements_wait_where_answers_come_soon() {
        let mut held = talking();
        assert_eq!(ask(&mut held, 100), Departure::Until(at(200)));
        assert_eq!(ask(&mut held, 199), Departure::Until(at(200)));
        held.note_post(|| at(199));
        held.release();
        let departure = ask(&mut held, 210);
        assert_eq!(departure, Departure::Until(at(310)), "the last one rode");
    }

    #[test]
    fn and_not_where_they_come_late() {
        let mut held = Held::new();
        held.note_post(|| NOW);
        assert_eq!(ask(&mut held, 1), Departure::Now, "there was none before");
        held.release();
        held.note_post(|| at(101));
        assert_eq!(ask(&mut held, 150), Departure::Now);
    }

    #[test]
    fn one_that_waited_in_vain_is_the_last_to_wait() {
        let mut held = talking();
        assert_eq!(ask(&mut held, 100), Departure::Until(at(200)));
        assert_eq!(ask(&mut held, 200), Departure::Now);
        held.release();
        held.note_post(|| at(210));
        assert_eq!(ask(&mut held, 300), Departure::Now, "that was too late");
        held.release();
        held.note_post(|| at(420));
        assert_eq!(ask(&mut held, 500), Departure::Now, "and so was that");
    }

    #[test]
    fn one_that_goes_with_what_nobody_has_posted_has_waited_in_vain() {
        let mut held = talking();
        assert_eq!(ask(&mut held, 100), Departure::Until(at(200)));
        held.note_other();
        assert_eq!(ask(&mut held, 110), Departure::Now);
        held.release();
        assert_eq!(ask(&mut held, 120), Departure::Now);
    }

    #[test]
    fn nothing_waits_beside_what_does_not() {
        let mut held = talking();
        held.note_other();
        assert_eq!(ask(&mut held, 100), Departure::Now);
        held.release();
        assert_eq!(held.departure(at(200)), Departure::Now, "nobody held it");
        assert_eq!(ask(&mut held, 300), Departure::Until(at(400)));
    }

    #[test]
    fn messages_wait_for_acknowledgements_whatever_is_asked_for_meanwhile() {
        let mut held = Held::new();
        assert!(held.hold_message(at(200)));
        assert_eq!(held.departure(at(201)), Departure::WithAck);
        assert!(held.hold_message(at(202)));
        assert_eq!(held.departure(at(203)), Departure::WithAck);
        held.note_other();
        assert_eq!(held.departure(at(204)), Departure::Now);
    }

    #[test]
    fn messages_do_not_wait_for_an_acknowledgement_that_gets_lost() {
        let mut held = Held::new();
        assert!(held.hold_message(at(0)));
        assert!(held.hold_message(at(999)));
        assert!(!held.hold_message(at(1000)));
        assert_eq!(held.departure(at(1000)), Departure::Now);
        held.release();
        assert!(held.hold_message(at(1100)));
    }

    #[test]
    fn a_message_does_not_wait_that_an_acknowledgement_waits_for() {
        let mut held = talking();
        assert_eq!(ask(&mut held, 100), Departure::Until(at(200)));
        assert!(!held.hold_message(at(110)));
    }

    #[test]
    fn an_acknowledgement_beside_messages_waits_as_long_as_any() {
        let mut held = talking();
        assert!(held.hold_message(at(50)));
        assert_eq!(ask(&mut held, 100), Departure::Until(at(200)));
        assert_eq!(ask(&mut held, 200), Departure::Now);
    }

    #[test]
    fn messages_wait_for_a_program_as_long_as_it_is_waited_for() {
        let mut held = Held::new();
        assert!(!held.hold_for_program(at(0)), "nobody waits");
        held.wait_for_program(at(100));
        assert_eq!(held.program_until(at(99)), Some(at(100)));
        assert!(held.hold_for_program(at(10)));
        assert_eq!(held.departure(at(20)), Departure::Until(at(100)));
        assert_eq!(held.departure(at(100)), Departure::Now);
        held.release();
        assert!(!held.hold_for_program(at(50)), "what was there has gone");
    }

    #[test]
    fn of_several_programs_the_first_ends_the_wait() {
        let mut held = Held::new();
        held.wait_for_program(at(100));
        held.wait_for_program(at(200));
        assert_eq!(held.program_until(at(10)), Some(at(100)));
        held.wait_for_program(at(50));
        assert!(held.hold_for_program(at(10)));
        assert_eq!(held.departure(at(20)), Departure::Until(at(50)));
    }

    #[test]
    fn an_acknowledgement_that_rides_does_not_make_the_wait_longer() {
        let mut held = talking();
        held.wait_for_program(at(150));
        assert!(held.hold_for_program(at(90)));
        assert_eq!(ask(&mut held, 100), Departure::Until(at(150)));
    }

    #[test]
    fn and_not_for_one_that_was_waited_for_in_vain() {
        let mut held = Held::new();
        held.wait_for_program(at(100));
        assert_eq!(held.program_until(at(100)), None);
        assert!(held.hold_message(at(150)));
        assert_eq!(held.departure(at(151)), Departure::WithAck);
    }

    #[test]
    fn an_acknowledgement_does_not_wait_for_a_program() {
        let mut held = Held::new();
        held.wait_for_program(at(100));
        assert!(held.hold_for_program(at(10)));
        assert_eq!(ask(&mut held, 20), Departure::Now);
    }
}
