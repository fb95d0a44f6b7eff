// SPDX-License-Identifier: GPL-2.0

//! What measures a subject.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::flow;
use super::meter;
use super::perftest;
use super::speed::Speed;
use super::testbed::Testbed;
use crate::roce::all_reduce;

/// Round trips of a latency measurement.
const ROUNDS: u64 = 1000;

/// Bytes of payload to which CPU time relates.
const PAGE: f64 = 4096.0;

/// Bytes per second of a gigabit per second.
const GBPS: f64 = 1e9 / 8.0;

/// Measures any subject over one cable.
pub struct Instrument<'a> {
    /// Where.
    pub testbed: &'a Testbed<'a>,
    /// How fast everything is.
    pub speeds: Vec<(Transport, Speed)>,
    /// How long a measurement should take.
    pub goal: Duration,
}

impl Instrument<'_> {
    /// Measures `subject` once.
    pub fn measure(&self, subject: &Subject) -> Result<f64> {
        match (subject.metric, subject.verb) {
            (Metric::AllReduce, _) => self.all_reduce(subject.bytes),
            (Metric::Cpu, _) => self.cpu(subject),
            (_, Verb::Bytes) => meter::measure(self.testbed, subject),
            _ => perftest::measure(self.testbed, subject, self.count(subject)?),
        }
    }

    fn all_reduce(&self, bytes: u64) -> Result<f64> {
        let reports = all_reduce::run(self.testbed.stage(), bytes, "--latency-rounds 0")?;
        let report = reports.first().context("no rank reported")?;
        Ok(report.bus_gbps * GBPS)
    }

    fn cpu(&self, subject: &Subject) -> Result<f64> {
        let used = || -> Result<f64> { Ok(self.testbed.instance().cpu_time()?.as_secs_f64()) };
        let many = self.count(subject)?;
        let message = flow::per_message(self.testbed, subject, many, used)?;
        Ok(message / subject.bytes as f64 * PAGE)
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
        Ok(speed.count(subject.bytes, subject.flows, self.goal))
    }
}
