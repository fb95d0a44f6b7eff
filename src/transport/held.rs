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
//! acknowledged, they wait a moment for the program (`refill.rs`). All queue pairs of streams do that together: were each to wait for its own
//! acknowledgements and for its own program, which posts to one after the other, each would find the others' under way, and send few.

use super::ids::Duration;
use super::ids::Instant;
use super::refill::Refill;
use super::share::Cause;
use super::share::Share;

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
    /// Whether some of them have nothing else under way, and wait for what others have.
    joined: Joined,
    /// How many queue pairs are owed an acknowledgement.
    owed_to: u32,
    /// Of them, how many are not waited for any more.
    overdue: u32,
    /// When the others were first owed one, or the last sign came that the host gives it.
    owed_since: Instant,
    /// The requests of all their shares.
    under_way: u32,
    /// What is known of the programs that post them, taken as one.
    refill: Refill,
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

/// Whether messages wait for what other queue pairs have under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Joined {
    None,
    /// They do, until the host owes nothing, or the next acknowledgement that leaves something under way: a queue pair that always has is
    /// not waited for any longer.
    Some,
    /// There was such an acknowledgement.
    Due,
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
            joined: Joined::None,
            owed_to: 0,
            overdue: 0,
            owed_since: Instant(0),
            under_way: 0,
            refill: Refill::new(),
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

    /// There are little messages of a queue pair that the host owes nothing. Says whether they wait for what it owes to others, unless that is
    /// overdue, and then for as many as programs had under way before.
    pub fn join_messages(&mut self, now: Instant) -> bool {
        let is_owed_soon = self.is_owed() && !self.is_overdue(now);
        let may_wait = is_owed_soon || self.programs_until(now).is_some();
        let waits = may_wait && self.hold_message(now);
        if waits && self.joined == Joined::None {
            self.joined = Joined::Some;
        }
        waits
    }

    /// What a queue pair has under way has changed from `old`, which is what was said of it before.
    pub fn note_share(&mut self, old: Share, new: Share, cause: Cause, now: impl Fn() -> Instant) {
        let was_owed = self.is_owed();
        self.owed_to = self.owed_to - u32::from(old.is_owed) + u32::from(new.is_owed);
        self.overdue = self.overdue.min(self.owed_to);
        self.under_way = self.under_way - old.under_way + new.under_way;
        if new.under_way > old.under_way {
            self.refill.note_posted(self.under_way, &now);
        }
        match (old.is_owed, new.is_owed) {
            (false, true) => {
                let now = now();
                // Those that have been owed one for long do not count any more.
                if !was_owed || self.is_overdue(now) {
                    self.overdue = self.owed_to - 1;
                    self.owed_since = now;
                    self.refill.note_departure(now);
                }
            }
            (true, true) if new.under_way < old.under_way => {
                self.owed_since = now();
                if self.joined == Joined::Some {
                    self.joined = Joined::Due;
                }
            }
            (true, false) if was_owed && !self.is_owed() => match cause {
                Cause::Arrival => self.refill.note_acknowledged(now()),
                Cause::Other => self.refill.stop(),
            },
            (true, false | true) | (false, false) => {}
        }
    }

    /// Whether an acknowledgement is owed that is waited for.
    fn is_owed(&self) -> bool {
        self.owed_to > self.overdue
    }

    /// Whether it has been owed for longer than a good one takes.
    fn is_overdue(&self, now: Instant) -> bool {
        now >= self.owed_since.after(GATHER)
    }

    /// Nobody waits for programs any more, since nobody would see to the end of that.
    pub fn stop_waiting(&mut self) {
        self.refill.stop();
    }

    /// Until when programs are waited for that are about to post more.
    pub fn programs_until(&self, now: Instant) -> Option<Instant> {
        self.refill.waits_until(self.under_way, now)
    }

    /// Somebody asks for what is in the list.
    pub fn departure(&mut self, now: Instant) -> Departure {
        let is_late = |since: Instant| now >= since.after(GATHER);
        if self.others == Others::Some || self.messages_since.is_some_and(is_late) {
            return Departure::Now;
        }
        let since = match self.acks {
            Acks::None if self.messages_since.is_some() => {
                return match self.programs_until(now) {
                    Some(until) => Departure::Until(until),
                    None if self.are_joined_due() => Departure::Now,
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
        let until = match self.programs_until(now) {
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

    fn are_joined_due(&self) -> bool {
        match self.joined {
            Joined::None => false,
            Joined::Some => !self.is_owed(),
            Joined::Due => true,
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
        self.joined = Joined::None;
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

    /// Of queue pairs that had so much under way each, which went at 0 and was acknowledged after 100 us: the host owes nothing.
    fn acknowledged(shares: &[u32]) -> Held {
        let mut held = Held::new();
        for &under_way in shares {
            held.note_share(Share::NONE, waiting(under_way), Cause::Arrival, || at(0));
        }
        for &under_way in shares {
            held.note_share(waiting(under_way), owed(under_way), Cause::Arrival, || {
                at(0)
            });
        }
        for &under_way in shares {
            held.note_share(owed(under_way), Share::NONE, Cause::Arrival, || at(100));
        }
        held
    }

    const fn owed(under_way: u32) -> Share {
        Share {
            under_way,
            is_owed: true,
        }
    }

    const fn waiting(under_way: u32) -> Share {
        Share {
            under_way,
            is_owed: false,
        }
    }

    #[test]
    fn messages_wait_for_programs_as_long_as_these_are_waited_for() {
        let mut held = Held::new();
        assert!(!held.join_messages(at(0)), "nobody waits");
        let mut held = acknowledged(&[2, 3]);
        assert_eq!(held.programs_until(at(199)), Some(at(200)));
        held.note_share(Share::NONE, waiting(1), Cause::Arrival, || at(110));
        assert!(held.join_messages(at(110)));
        assert_eq!(held.departure(at(120)), Departure::Until(at(200)));
        assert_eq!(held.departure(at(200)), Departure::Now);
        held.release();
        assert!(!held.join_messages(at(250)), "what was there has gone");
    }

    #[test]
    fn and_until_all_have_posted_as_much_as_before() {
        let mut held = acknowledged(&[2, 3]);
        held.note_share(Share::NONE, waiting(4), Cause::Arrival, || at(110));
        assert!(held.join_messages(at(110)));
        held.note_share(Share::NONE, waiting(1), Cause::Arrival, || at(120));
        assert!(!held.join_messages(at(120)));
        assert_eq!(held.departure(at(120)), Departure::Now);
    }

    #[test]
    fn messages_wait_for_what_others_have_under_way() {
        let mut held = Held::new();
        held.note_share(Share::NONE, owed(4), Cause::Arrival, || at(0));
        held.note_share(Share::NONE, owed(4), Cause::Arrival, || at(1));
        held.note_share(Share::NONE, waiting(1), Cause::Arrival, || at(10));
        assert!(held.join_messages(at(10)));
        held.note_share(owed(4), waiting(1), Cause::Arrival, || at(20));
        assert_eq!(held.departure(at(20)), Departure::WithAck, "of the other");
        held.note_share(owed(4), waiting(1), Cause::Arrival, || at(30));
        assert_eq!(held.departure(at(30)), Departure::Until(at(60)));
        held.note_share(waiting(1), waiting(2), Cause::Arrival, || at(40));
        assert_eq!(held.departure(at(40)), Departure::Now, "four, as before");
    }

    #[test]
    fn messages_do_not_wait_for_what_is_overdue() {
        let mut held = Held::new();
        held.note_share(Share::NONE, owed(9), Cause::Other, || at(0));
        assert!(!held.join_messages(at(1000)));
        held.release();
        held.note_share(Share::NONE, owed(2), Cause::Other, || at(1000));
        assert!(held.join_messages(at(1050)), "of another");
        held.note_share(owed(2), waiting(1), Cause::Arrival, || at(1100));
        let departure = held.departure(at(1100));
        assert_eq!(departure, Departure::Until(at(1200)), "of its program");
        held.note_share(owed(9), Share::NONE, Cause::Other, || at(1110));
        assert_eq!(held.owed_to, 0);
    }

    #[test]
    fn programs_are_waited_for_where_somebody_sees_to_the_end_of_that() {
        let mut held = acknowledged(&[2, 3]);
        held.stop_waiting();
        assert!(!held.join_messages(at(110)));
        let mut held = Held::new();
        held.note_share(Share::NONE, owed(2), Cause::Other, || at(0));
        held.note_share(owed(2), Share::NONE, Cause::Other, || at(100));
        assert!(!held.join_messages(at(110)), "nothing has arrived");
    }

    #[test]
    fn messages_do_not_wait_for_one_that_always_has_something_under_way() {
        let mut held = Held::new();
        held.note_share(Share::NONE, owed(64), Cause::Arrival, || at(0));
        assert!(held.join_messages(at(10)));
        held.note_share(owed(64), owed(65), Cause::Arrival, || at(20));
        assert_eq!(held.departure(at(20)), Departure::WithAck, "it has posted");
        held.note_share(owed(65), owed(57), Cause::Arrival, || at(30));
        assert!(held.join_messages(at(30)));
        assert_eq!(held.departure(at(30)), Departure::Now);
        held.release();
        assert!(held.join_messages(at(40)));
        assert_eq!(held.departure(at(40)), Departure::WithAck, "of the next");
    }

    #[test]
    fn an_acknowledgement_that_rides_does_not_make_the_wait_longer() {
        let mut held = talking();
        held.note_share(Share::NONE, owed(2), Cause::Arrival, || at(0));
        held.note_share(owed(2), Share::NONE, Cause::Arrival, || at(75));
        assert!(held.join_messages(at(90)));
        assert_eq!(ask(&mut held, 100), Departure::Until(at(150)));
    }

    #[test]
    fn an_acknowledgement_does_not_wait_for_a_program() {
        let mut held = acknowledged(&[2]);
        assert!(held.join_messages(at(110)));
        assert_eq!(ask(&mut held, 120), Departure::Now);
    }
}
