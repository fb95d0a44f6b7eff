// SPDX-License-Identifier: GPL-2.0

//! What a host holds back for a moment of that which it has for another one.
//!
//! Programs that talk to each other answer within microseconds. An acknowledgement that goes out before the answer costs both
//! hosts a frame, and the program the time in which it is sent. One that waits in vain is late. So it waits where the last one
//! would have found something to ride on, and not after one that waited in vain.
//!
//! Little messages of a program that has many under way wait for the next acknowledgement, and go out together.

use super::ids::Duration;
use super::ids::Instant;

/// How long an acknowledgement waits: what a program takes to find its message and to post the answer.
pub const RIDE: Duration = Duration::from_micros(50);

/// For how long little messages are held back that wait for an acknowledgement: longer than a good one takes. It may get lost.
pub const GATHER: Duration = Duration::from_micros(200);

/// A program with no more requests under way than this waits for them: they go at once. The acknowledgement of so many is not held
/// back either, as those behind them may wait for it.
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
    /// Since when acknowledgements are.
    acks_since: Option<Instant>,
    /// Since when messages are.
    messages_since: Option<Instant>,
    /// Whether there is something that is not.
    others: Others,
}

/// What is in the list that is not held back, and that no rail was told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Others {
    None,
    Some,
}

impl Held {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            outlook: Outlook::Unknown,
            acks_since: None,
            messages_since: None,
            others: Others::None,
        }
    }

    /// Something got into the list that goes as soon as somebody asks.
    pub fn note_other(&mut self) {
        self.others = Others::Some;
    }

    /// A program has posted something that goes at once.
    pub fn note_post(&mut self, now: impl FnOnce() -> Instant) {
        if let Outlook::SentAt(at) = self.outlook {
            if now() < at.after(RIDE) {
                self.outlook = Outlook::Ride;
            }
        }
    }

    /// A program has posted little, for which it may wait until an acknowledgement comes that the peer owes. Says whether it
    /// does: not if an acknowledgement waits for something like it, or others have been waiting for long.
    pub fn hold_message(&mut self, now: Instant) -> bool {
        let since = *self.messages_since.get_or_insert(now);
        self.acks_since.is_none() && now < since.after(GATHER)
    }

    /// Somebody asks for what is in the list. Says until when it is held back, if it is: it can only be acknowledgements then.
    pub fn hold(&mut self, now: Instant) -> Option<Instant> {
        if self.others == Others::Some || self.messages_since.is_some() {
            return None;
        }
        if self.outlook != Outlook::Ride {
            self.outlook = Outlook::SentAt(now);
            return None;
        }
        let until = self.acks_since.get_or_insert(now).after(RIDE);
        if now >= until {
            self.outlook = Outlook::Unknown;
            return None;
        }
        Some(until)
    }

    /// All that is in the list goes, or has gone.
    pub fn release(&mut self) {
        self.acks_since = None;
        self.messages_since = None;
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

    /// After an acknowledgement that would have found something to ride on.
    fn talking() -> Held {
        let mut held = Held::new();
        assert_eq!(held.hold(NOW), None);
        held.release();
        held.note_post(|| at(10));
        held
    }

    #[test]
    fn acknowledgements_wait_where_answers_come_soon() {
        let mut held = talking();
        assert_eq!(held.hold(at(100)), Some(at(150)));
        assert_eq!(held.hold(at(149)), Some(at(150)));
        held.release();
        assert_eq!(held.hold(at(160)), Some(at(210)), "the last one rode");
    }

    #[test]
    fn and_not_where_they_come_late() {
        let mut held = Held::new();
        held.note_post(|| NOW);
        assert_eq!(held.hold(at(1)), None, "there was none before");
        held.note_post(|| at(51));
        assert_eq!(held.hold(at(100)), None);
    }

    #[test]
    fn one_that_waited_in_vain_is_the_last_to_wait() {
        let mut held = talking();
        assert_eq!(held.hold(at(100)), Some(at(150)));
        assert_eq!(held.hold(at(150)), None);
        held.release();
        held.note_post(|| at(160));
        assert_eq!(held.hold(at(200)), None, "that was too late");
        held.release();
        held.note_post(|| at(270));
        assert_eq!(held.hold(at(300)), None, "and so was that");
    }

    #[test]
    fn nothing_waits_beside_what_does_not() {
        let mut held = talking();
        held.note_other();
        assert_eq!(held.hold(at(100)), None);
        held.release();
        assert!(held.hold_message(at(200)));
        assert_eq!(held.hold(at(201)), None, "messages go when somebody asks");
        held.release();
        assert_eq!(held.hold(at(300)), Some(at(350)));
    }

    #[test]
    fn messages_do_not_wait_for_an_acknowledgement_that_gets_lost() {
        let mut held = Held::new();
        assert!(held.hold_message(at(0)));
        assert!(held.hold_message(at(199)));
        assert!(!held.hold_message(at(200)));
        held.release();
        assert!(held.hold_message(at(300)));
    }

    #[test]
    fn a_message_does_not_wait_that_an_acknowledgement_waits_for() {
        let mut held = talking();
        assert!(held.hold(at(100)).is_some());
        assert!(!held.hold_message(at(110)));
    }
}
