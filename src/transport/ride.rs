// SPDX-License-Identifier: GPL-2.0

//! Whether an acknowledgement waits a moment for something to ride on.
//!
//! Programs that talk to each other answer within microseconds. An acknowledgement that goes out before the answer costs both
//! hosts a frame, and the program the time in which it is sent. One that waits in vain is late. So it waits where the last one
//! would have found something to ride on, and not after one that waited in vain.

use super::ids::Duration;
use super::ids::Instant;

/// How long an acknowledgement waits: what a program takes to find its message and to post the answer.
pub const RIDE: Duration = Duration::from_micros(50);

/// What the next acknowledgement has to expect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outlook {
    /// Something to ride on: the last one rode, or went out at this time shortly before something that it could have ridden on.
    Ride,
    /// Nothing. The last one went out at this time.
    Alone(Instant),
}

/// What is known of the acknowledgements to a host, and of what is posted for it.
#[derive(Clone, Debug)]
pub struct Rides {
    outlook: Outlook,
}

impl Rides {
    /// Nothing has been posted yet.
    pub const fn new() -> Self {
        Self {
            outlook: Outlook::Alone(Instant(0)),
        }
    }

    /// Whether an acknowledgement is to wait, for [`RIDE`] at most.
    pub fn are_likely(&self) -> bool {
        self.outlook == Outlook::Ride
    }

    /// An acknowledgement goes out alone, at once or because it has waited in vain.
    pub fn note_alone(&mut self, now: Instant) {
        self.outlook = Outlook::Alone(now);
    }

    /// A program posts something.
    pub fn note_post(&mut self, now: Instant) {
        if let Outlook::Alone(at) = self.outlook {
            if at > Instant(0) && now < at.after(RIDE) {
                self.outlook = Outlook::Ride;
            }
        }
    }
}

impl Default for Rides {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000);

    #[test]
    fn acknowledgements_wait_where_answers_come_soon() {
        let mut rides = Rides::new();
        rides.note_post(Instant(1));
        assert!(!rides.are_likely(), "there was none that could have waited");
        rides.note_alone(NOW);
        assert!(!rides.are_likely());
        rides.note_post(NOW.after(Duration(RIDE.0 - 1)));
        assert!(rides.are_likely());
        rides.note_post(NOW.after(RIDE));
        assert!(rides.are_likely(), "it rides");
    }

    #[test]
    fn one_that_waited_in_vain_is_the_last_to_wait() {
        let mut rides = Rides::new();
        rides.note_alone(NOW);
        rides.note_post(NOW);
        assert!(rides.are_likely());
        rides.note_alone(NOW);
        assert!(!rides.are_likely());
        rides.note_post(NOW.after(RIDE));
        assert!(!rides.are_likely(), "the answer comes late");
    }
}
