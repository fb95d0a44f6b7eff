// SPDX-License-Identifier: GPL-2.0

//! How fast things are, roughly: so that each measurement takes about as long as it is meant to.

use std::time::Duration;

use anyhow::Result;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::meter;
use super::perftest;
use super::testbed::Testbed;

/// Message sizes by which a transport's speed is found out.
const SMALL: u64 = 64;
const LARGE: u64 = 1 << 20;

/// Bytes of each size that are moved for that, and bounds of the number of messages.
const TRIAL: u64 = 16 << 20;
const TRIAL_MOST: u64 = 300;

/// Bounds of the number of messages of a measurement.
const LEAST: u64 = 10;
const MOST: u64 = 200_000;

/// How long messages take, as a function of their size.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Seconds of a message.
    message: f64,
    /// Seconds of a byte.
    byte: f64,
}

impl Speed {
    /// From bandwidths, in bytes per second, with messages of [`SMALL`] and [`LARGE`] bytes.
    fn new(small: f64, large: f64) -> Self {
        let message = SMALL as f64 / small;
        Self {
            message,
            byte: (LARGE as f64 / large - message).max(0.0) / LARGE as f64,
        }
    }

    /// How many messages of `bytes`, on each of `flows` QPs or connections at once, take about `goal`.
    pub fn count(&self, bytes: u64, flows: u32, goal: Duration) -> u64 {
        let seconds = (self.message + self.byte * bytes as f64) * f64::from(flows);
        // Saturates.
        ((goal.as_secs_f64() / seconds) as u64).clamp(LEAST, MOST)
    }

    /// Measures a transport.
    pub fn of(testbed: &Testbed<'_>, transport: Transport) -> Result<Self> {
        let bandwidth = |bytes| {
            let verb = transport.plainest();
            let subject = Subject::new(Metric::Bandwidth, transport, verb, bytes);
            match verb {
                Verb::Bytes => meter::measure(testbed, &subject),
                _ => {
                    let count = (TRIAL / bytes).clamp(LEAST, TRIAL_MOST);
                    perftest::measure(testbed, &subject, count)
                }
            }
        };
        Ok(Self::new(bandwidth(SMALL)?, bandwidth(LARGE)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fill_the_time() {
        let second = Duration::from_secs(1);
        // A message takes 1 ms, a mebibyte 1 s.
        let speed = Speed {
            message: 1e-3,
            byte: 1.0 / LARGE as f64,
        };
        assert_eq!(speed.count(SMALL, 1, second), 942);
        assert_eq!(speed.count(LARGE, 1, second), LEAST);
        assert_eq!(speed.count(LARGE, 1, second * 100), 99);
        assert_eq!(speed.count(SMALL, 1, second * 10_000), MOST);
        assert_eq!(speed.count(SMALL, 4, second), 235);
    }

    #[test]
    fn speed_comes_from_two_sizes() {
        // 1 ms a message, 1 MiB/s.
        let speed = Speed::new(64_000.0, LARGE as f64);
        assert!((speed.message - 1e-3).abs() < 1e-12);
        assert!((speed.byte * LARGE as f64 - 0.999).abs() < 1e-9);
        // What is measured wrongly stays harmless.
        assert_eq!(Speed::new(1.0, f64::INFINITY).byte, 0.0);
    }
}
