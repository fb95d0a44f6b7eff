// SPDX-License-Identifier: GPL-2.0

//! What is measured.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// What is measured.
    pub metric: Metric,
    /// With which operation.
    pub verb: Verb,
    /// How long messages are.
    pub size: Size,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Bandwidth one way.
    Bandwidth,
    /// Bandwidth of each direction, both at once.
    BothWays,
    /// Latency.
    Latency,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// RDMA WRITE.
    Write,
    /// RDMA READ.
    Read,
    /// SEND.
    Send,
}

/// The length of messages. A server takes no other number from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// 64 bytes.
    #[serde(rename = "64")]
    Small,
    /// 1 MiB.
    #[serde(rename = "1048576")]
    Large,
}

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Small => 64,
            Self::Large => 1 << 20,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "64 B",
            Self::Large => "1 MiB",
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "WRITE",
            Self::Read => "READ",
            Self::Send => "SEND",
        })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.size)?;
        match (self.metric, self.verb) {
            (Metric::Bandwidth, _) => Ok(()),
            (Metric::BothWays, _) => f.write_str(", both ways at once, each"),
            (Metric::Latency, Verb::Read) => f.write_str(", there and back"),
            (Metric::Latency, _) => f.write_str(", one way"),
        }
    }
}

/// All that is measured, in this order.
pub fn tests() -> Vec<Test> {
    let bandwidth = |metric, verb| Test {
        metric,
        verb,
        size: Size::Large,
    };
    let latency = |verb| Test {
        metric: Metric::Latency,
        verb,
        size: Size::Small,
    };
    vec![
        bandwidth(Metric::Bandwidth, Verb::Write),
        bandwidth(Metric::Bandwidth, Verb::Read),
        bandwidth(Metric::Bandwidth, Verb::Send),
        bandwidth(Metric::BothWays, Verb::Write),
        latency(Verb::Write),
        latency(Verb::Read),
        latency(Verb::Send),
    ]
}
