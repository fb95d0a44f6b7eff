// SPDX-License-Identifier: GPL-2.0

//! Keeps a peer from flooding the log: what it does as often as it likes is logged only so often.

use crate::transport::ids::Duration;
use crate::transport::ids::Instant;

/// Lines in a row that are always logged: what goes wrong with a cable or with a peer shows in them.
const BURST: u32 = 20;

/// One more line in this time.
const REFILL: Duration = Duration::from_millis(10_000);

/// Whether a line may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allowance {
    /// It may; so many before it were not.
    Log {
        /// Lines that were left out.
        left_out: u32,
    },
    /// The line is left out.
    LeaveOut,
}

/// How many lines may still be written, about one rail.
#[derive(Clone, Copy, Debug)]
pub struct LogLimit {
    lines: u32,
    /// When the last line was added to those.
    refilled_at: Instant,
    left_out: u32,
}

impl LogLimit {
    /// Nothing has been written yet.
    pub const fn new() -> Self {
        Self {
            lines: BURST,
            refilled_at: Instant(0),
            left_out: 0,
        }
    }

    /// Asks for a line.
    pub fn ask(&mut self, now: Instant) -> Allowance {
        while self.lines < BURST && now >= self.refilled_at.after(REFILL) {
            self.lines += 1;
            self.refilled_at = self.refilled_at.after(REFILL);
        }
        if self.lines >= BURST {
            // Tokens are capped.
            self.refilled_at = now;
        }
        match self.lines.checked_sub(1) {
            Some(rest) => {
                self.lines = rest;
                let left_out = core::mem::take(&mut self.left_out);
                Allowance::Log { left_out }
            }
            None => {
                self.left_out = self.left_out.saturating_add(1);
                Allowance::LeaveOut
            }
        }
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Instant {
        Instant(0).after(Duration::from_millis(1000 * count))
    }

    #[test]
    fn what_happens_now_and_then_is_told() {
        let mut limit = LogLimit::new();
        for time in 0..1000 {
            let allowance = limit.ask(seconds(10 * time));
            assert_eq!(allowance, Allowance::Log { left_out: 0 });
        }
    }

    #[test]
    fn a_flood_is_a_trickle() {
        let mut limit = LogLimit::new();
        let mut told = 0;
        for milli in 0..100_000 {
            let now = Instant(0).after(Duration::from_millis(milli));
            told += u32::from(limit.ask(now) != Allowance::LeaveOut);
        }
        assert_eq!(told, BURST + 9);
    }

    #[test]
    fn what_was_left_out_is_counted_and_forgiven() {
        let mut limit = LogLimit::new();
        for _ in 0..BURST + 5 {
            limit.ask(seconds(1));
        }
        assert_eq!(limit.ask(seconds(12)), Allowance::Log { left_out: 5 });
        assert_eq!(limit.ask(seconds(12)), Allowance::LeaveOut);
        // A burst, and no more, after however long a calm.
        for _ in 0..BURST {
            assert_ne!(limit.ask(seconds(10_000)), Allowance::LeaveOut);
        }
        assert_eq!(limit.ask(seconds(10_000)), Allowance::LeaveOut);
    }
}
