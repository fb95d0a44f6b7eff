// SPDX-License-Identifier: GPL-2.0

//! What measures a subject.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::meter;
use super::perftest;
use super::speed::Speed;
use super::testbed::Testbed;

/// Round trips of a latency measurement.
const ROUNDS: u64 = 300;

/// Measures any subject over one cable.
pub struct Instrument<'a> {
    /// Where.
    pub testbed: &'a Testbed<'a>,
    /// How fast the verbs devices are.
    pub speeds: Vec<(Transport, Speed)>,
    /// How long a measurement should take.
    pub goal: Duration,
}

impl Instrument<'_> {
    /// Measures `subject` once.
    pub fn measure(&self, subject: &Subject) -> Result<f64> {
        match subject.transport {
            Transport::Stream | Transport::Tcp => meter::measure(self.testbed, subject),
            Transport::Roce | Transport::Rxe => {
                perftest::measure(self.testbed, subject, self.count(subject)?)
            }
        }
    }

    /// How many messages fill the time, on each QP.
    fn count(&self, subject: &Subject) -> Result<u64> {
        if subject.metric == Metric::Latency {
            return Ok(ROUNDS);
        }
        let mut speeds = self.speeds.iter();
        let (_, speed) = speeds
            .find(|(transport, _)| *transport == subject.transport)
            .context("its speed is not known")?;
        Ok(speed.count(subject.bytes, subject.qps, self.goal))
    }
}
