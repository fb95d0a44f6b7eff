// SPDX-License-Identifier: GPL-2.0

//! What happens in a run, line by line, for whoever replays a seed.

use std::fmt::Arguments;

use usb4_roce::transport::ids::Instant;

/// Whether a run is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Telling {
    /// Not a word.
    #[default]
    Silent,
    /// Everything.
    Aloud,
}

/// A log with the run's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log {
    pub telling: Telling,
    pub now: Instant,
}

impl Log {
    /// Writes a line, if anybody wants to know.
    pub fn say(&self, what: Arguments<'_>) {
        if self.telling == Telling::Aloud {
            let micros = self.now.0 / 1000;
            println!(
                "{:3}.{:06} s  {what}",
                micros / 1_000_000,
                micros % 1_000_000
            );
        }
    }
}
