// SPDX-License-Identifier: GPL-2.0

//! fio, which reads or writes for a while and says how fast that went.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::INITIATOR;
use super::LIMIT;
use crate::hosts::stage::Stage;

/// Whether data are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They are read.
    Read,
    /// They are written.
    Write,
}

/// Which place comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next one.
    Sequential,
    /// Any.
    Random,
}

/// What is done to a disk or a file, past the page cache.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Whether it reads or writes.
    pub direction: Direction,
    /// Where.
    pub order: Order,
    /// Bytes of a request.
    pub bytes: u64,
    /// How many requests are under way.
    pub in_flight: u32,
}

impl Load {
    /// As fio calls it.
    fn pattern(&self) -> &'static str {
        match (self.order, self.direction) {
            (Order::Sequential, Direction::Read) => "read",
            (Order::Sequential, Direction::Write) => "write",
            (Order::Random, Direction::Read) => "randread",
            (Order::Random, Direction::Write) => "randwrite",
        }
    }

    /// Loads `file`, which `find` may set variables for, on the initiator for `time`.
    pub fn run(&self, stage: &Stage<'_>, find: &str, file: &str, time: Duration) -> Result<Done> {
        let pattern = self.pattern();
        let Self {
            bytes, in_flight, ..
        } = self;
        let milliseconds = time.as_millis();
        // The processor's clock and the kernel's may disagree on such a host.
        let script = format!(
            "{find}
            fio --name=load --filename={file} --rw={pattern} --bs={bytes} --iodepth={in_flight} --ioengine=libaio --direct=1 \
              --time_based --runtime={milliseconds}ms --clocksource=clock_gettime \
              --output-format=json --output=/tmp/fio.json >&2 || exit
            cat /tmp/fio.json"
        );
        let report = stage.shell(INITIATOR, &script, LIMIT)?;
        parse(&report, self.direction)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Done {
    /// Number of requests.
    #[serde(rename = "total_ios")]
    pub requests: u64,
    /// Requests per second.
    #[serde(rename = "iops")]
    pub rate: f64,
    /// Bytes per second.
    #[serde(rename = "bw_bytes")]
    pub bandwidth: f64,
}

/// fio's report.
#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    /// The number of the first error.
    error: i32,
    read: Done,
    write: Done,
}

/// What fio's report says of one direction.
fn parse(text: &str, direction: Direction) -> Result<Done> {
    let report: Report =
        serde_json::from_str(text).with_context(|| format!("fio's report:\n{text}"))?;
    let job = report.jobs.first().context("fio did nothing")?;
    ensure!(job.error == 0, "fio met error {}", job.error);
    let done = match direction {
        Direction::Read => job.read,
        Direction::Write => job.write,
    };
    ensure!(done.requests > 0, "fio has done none of what it was to do");
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of fio 3.39, without most of it.
    fn report(error: i32, requests: u64) -> String {
        format!(
            r#"{{
  "fio version" : "fio-3.39",
  "timestamp" : 1795930000,
  "jobs" : [
    {{
      "jobname" : "load",
      "error" : {error},
      "eta" : 0,
      "read" : {{
        "io_bytes" : 40960000, "io_kbytes" : 40000, "bw_bytes" : 20480000, "bw" : 20000,
        "iops" : 5000.250000, "runtime" : 2000, "total_ios" : {requests}, "short_ios" : 0,
        "lat_ns" : {{ "min" : 1000, "max" : 2000, "mean" : 1500.0, "stddev" : 10.0, "N" : {requests} }}
      }},
      "write" : {{
        "io_bytes" : 0, "io_kbytes" : 0, "bw_bytes" : 0, "bw" : 0,
        "iops" : 0.000000, "runtime" : 0, "total_ios" : 0, "short_ios" : 0
      }}
    }}
  ]
}}"#
        )
    }

    #[test]
    fn a_report_says_how_much_and_how_fast() {
        let done = parse(&report(0, 10_000), Direction::Read).unwrap();
        let expected = Done {
            requests: 10_000,
            rate: 5000.25,
            bandwidth: 20_480_000.0,
        };
        assert_eq!(done, expected);
    }

    #[test]
    fn errors_and_nothing_are_no_figures() {
        assert!(parse(&report(5, 10_000), Direction::Read).is_err());
        assert!(parse(&report(0, 10_000), Direction::Write).is_err());
        for text in ["", "{}", r#"{"jobs": []}"#, "fio: no such file"] {
            assert!(parse(text, Direction::Read).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_are_fios() {
        let load = |direction, order| Load {
            direction,
            order,
            bytes: 4096,
            in_flight: 1,
        };
        let found = [
            load(Direction::Read, Order::Random).pattern(),
            load(Direction::Write, Order::Sequential).pattern(),
        ];
        assert_eq!(found, ["randread", "write"]);
    }
}
