// SPDX-License-Identifier: GPL-2.0

//! How the program at one end of a connection posts: a few requests at a time, or a stream of them.
//!
//! The number that is under way does not tell: where sending a message takes longer than its acknowledgement, there are never
//! many, however many the program would like to have. What tells is how many there are before the other end has one: programs
//! that talk to each other post a few requests, and then get some. Both ends count the same requests, and so know of each other.

use super::held::FEW;

/// Counts the requests of a run of one end, which ends when the other end has one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Pace {
    /// Requests of this run.
    run: u32,
    /// Those of the one before: what a program has done it is likely to do again.
    last_run: u32,
}

impl Pace {
    /// Of a program that has posted nothing.
    pub(super) const fn new() -> Self {
        Self {
            run: 0,
            last_run: 0,
        }
    }

    /// The end has a request.
    pub(super) const fn note_own(&mut self) {
        self.run = self.run.saturating_add(1);
    }

    /// The other end has one.
    pub(super) const fn note_other(&mut self) {
        if self.run > 0 {
            self.last_run = self.run;
            self.run = 0;
        }
    }

    /// Whether the end posts a stream.
    pub(super) const fn is_stream(self) -> bool {
        self.run > FEW || self.last_run > FEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Posts `count` requests, and is answered by two.
    fn run(pace: &mut Pace, count: u32) {
        for _ in 0..count {
            pace.note_own();
        }
        pace.note_other();
        pace.note_other();
    }

    #[test]
    fn a_few_at_a_time_are_no_stream() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            run(&mut pace, FEW);
            assert!(!pace.is_stream());
        }
    }

    #[test]
    fn many_without_an_answer_are_one() {
        let mut pace = Pace::new();
        for _ in 0..FEW {
            pace.note_own();
        }
        assert!(!pace.is_stream());
        pace.note_own();
        assert!(pace.is_stream());
    }

    #[test]
    fn a_stream_is_taken_to_go_on_behind_one_answer() {
        let mut pace = Pace::new();
        run(&mut pace, FEW + 1);
        assert!(pace.is_stream());
        run(&mut pace, 1);
        assert!(!pace.is_stream(), "it did not");
    }
}
