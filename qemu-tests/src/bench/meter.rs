// SPDX-License-Identifier: GPL-2.0

//! Running the meter between the hosts: the raw stream, and TCP.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::testbed::address;
use super::testbed::raw_device;
use super::testbed::Testbed;
use super::testbed::CLIENT;
use super::testbed::SERVER;
use crate::hosts::stage::Pair;
use crate::hosts::stage::Ready;

/// Time limit.
const LIMIT: Duration = Duration::from_secs(240);

/// Port which the meter listens on.
const PORT: u16 = 7100;

/// What the meter prints for each measurement.
#[derive(Debug, Deserialize)]
struct Line {
    bytes: u64,
    count: u64,
    connections: u64,
    seconds: f64,
    one_way_us: Option<f64>,
}

impl Line {
    /// The number: of a ping-pong microseconds, else bytes per second.
    fn value(&self) -> f64 {
        match self.one_way_us {
            Some(time) => time,
            None => (self.bytes * self.count * self.connections) as f64 / self.seconds,
        }
    }
}

/// Measures `subject` once.
pub fn measure(testbed: &Testbed<'_>, subject: &Subject) -> Result<f64> {
    let pattern = match subject.metric {
        Metric::Bandwidth => "bulk",
        Metric::Duplex => "duplex",
        Metric::Latency => "ping-pong",
        metric => bail!("the meter does not measure {metric:?}"),
    };
    let task = format!("{pattern}:{}", subject.bytes);
    let lines = run(testbed, subject.transport, subject.flows, &task)?;
    let line = lines.first().context("the meter measured nothing")?;
    Ok(line.value())
}

/// Moves `count` messages of `subject` one way, on each connection.
pub fn move_messages(testbed: &Testbed<'_>, subject: &Subject, count: u64) -> Result<()> {
    let task = format!("--count {count} bulk:{}", subject.bytes);
    run(testbed, subject.transport, subject.flows, &task).map(drop)
}

/// Runs it with these arguments of the measuring end.
fn run(
    testbed: &Testbed<'_>,
    transport: Transport,
    connections: u32,
    tasks: &str,
) -> Result<Vec<Line>> {
    let place = match transport {
        Transport::Stream => format!("--stream {}", raw_device()),
        _ => {
            let address = address(transport, SERVER);
            format!("--tcp {address}:{PORT} --connections {connections}")
        }
    };
    // A file that an earlier server made says nothing of this one.
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let ready = format!("/tmp/meter-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let (_, output) = testbed.stage().pair(&Pair {
        server_host: SERVER,
        server: &format!("exec /lab/share/lab-meter serve {place} --ready {ready}"),
        ready: Ready::File(&ready),
        client_host: CLIENT,
        client: &format!("exec /lab/share/lab-meter measure {place} {tasks}"),
        limit: LIMIT,
    })?;
    let parse = |line| serde_json::from_str(line).with_context(|| format!("meter: {line}"));
    output.lines().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_bandwidth_and_ping_pong_latency() {
        let bulk = r#"{"pattern":"bulk","bytes":64,"count":1000,"connections":2,"seconds":0.5}"#;
        let bulk: Line = serde_json::from_str(bulk).unwrap();
        assert_eq!(bulk.value(), 256_000.0);
        let ping = r#"{"pattern":"ping-pong","bytes":64,"count":9,"connections":1,"seconds":1.0,"one_way_us":77.5}"#;
        let ping: Line = serde_json::from_str(ping).unwrap();
        assert_eq!(ping.value(), 77.5);
    }
}
