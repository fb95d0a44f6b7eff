// SPDX-License-Identifier: GPL-2.0

//! How fast it is from host to host: perftest's programs, and the cables' speed beside them.

use serde::Serialize;

use crate::host::Host;
use plan::Metric;
use plan::Test;

pub mod advice;
pub mod client;
mod conversation;
mod link_local;
mod perftest;
pub mod plan;
mod ports;
pub mod server;
pub mod text;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Version of this program.
    pub version: &'static str,
    /// Grows when a field changes its meaning.
    pub format: u32,
    /// The other host, as it was named.
    pub host: String,
    /// The cables to it.
    pub link: Link,
    /// Each test.
    pub results: Vec<TestResult>,
    /// What may help.
    pub advice: Vec<String>,
}

/// The cables to other hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What each cable has been trained to, such as `2 x 20 Gb/s`.
    pub cables: Vec<String>,
    /// What they carry together one way, in the direction in which each carries less.
    pub gbps: u32,
    /// Rails over them.
    pub rails: usize,
}

/// What came of a test.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// Gb/s; of both directions, of each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbps: Option<f64>,
    /// Microseconds one way, or there and back of a READ: half of all take less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_us: Option<f64>,
    /// 99 of 100 take less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Format of the JSON document.
const FORMAT: u32 = 1;

impl Link {
    /// The cables of `host` over which streams go.
    pub fn of(host: &Host) -> Self {
        let cables = host.bus.cables.iter();
        let cables = cables.filter(|cable| cable.stream_service().is_some());
        let rates: Vec<_> = cables.filter_map(|cable| cable.rate()).collect();
        Self {
            cables: rates.iter().map(ToString::to_string).collect(),
            gbps: rates.iter().map(|rate| rate.gbps()).sum(),
            rails: host.rails.len(),
        }
    }
}

impl TestResult {
    /// Which part of what the cables carry it is, if that is known.
    pub fn share_of(&self, link: &Link) -> Option<f64> {
        (link.gbps > 0).then(|| self.gbps.map(|gbps| gbps / f64::from(link.gbps)))?
    }

    fn failed(test: Test, error: &anyhow::Error) -> Self {
        Self {
            test,
            gbps: None,
            typical_us: None,
            p99_us: None,
            error: Some(format!("{error:#}")),
        }
    }
}

impl Bench {
    /// Whether every test has its figure.
    pub fn is_complete(&self) -> bool {
        self.results.iter().all(|result| result.error.is_none())
    }

    /// The best bandwidth one way, in Gb/s.
    fn best_one_way(&self) -> Option<f64> {
        let one_way = self
            .results
            .iter()
            .filter(|result| result.test.metric == Metric::Bandwidth);
        one_way.filter_map(|result| result.gbps).reduce(f64::max)
    }
}
