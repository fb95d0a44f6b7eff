// SPDX-License-Identifier: GPL-2.0

//! Running perftest's programs between the hosts.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Verb;
use super::testbed::address;
use super::testbed::verbs_device;
use super::testbed::Testbed;
use super::testbed::CLIENT;
use super::testbed::SERVER;
use crate::roce::programs::perftest_command;
use crate::roce::programs::VerbsProgram;

/// Time limit of a program.
const LIMIT: Duration = Duration::from_secs(240);

/// Port which the programs listen on.
const PORT: u16 = 18515;

/// perftest's unit of bandwidth in bytes.
const MIB: f64 = (1 << 20) as f64;

/// perftest prints two decimals of MiB/s and six of millions of messages a second. From this size on the
/// bandwidth is the more precise one.
const LARGE: u64 = 8 << 10;

/// Messages under way on each QP where their rate is measured.
const IN_FLIGHT: u32 = 16;

/// perftest's report.
#[derive(Deserialize)]
struct Report {
    results: Results,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Results {
    Moved(Moved),
    Latency {
        /// Microseconds.
        #[serde(rename = "t_typical")]
        typical: f64,
    },
}

#[derive(Deserialize)]
struct Moved {
    #[serde(rename = "MsgSize")]
    bytes: u64,
    /// MiB/s.
    #[serde(rename = "BW_average")]
    average: f64,
    /// Millions of messages per second.
    #[serde(rename = "MsgRate")]
    rate: f64,
}

impl Moved {
    /// Messages per second.
    fn rate(&self) -> f64 {
        self.rate * 1e6
    }

    /// Bytes per second.
    fn bandwidth(&self) -> f64 {
        match self.bytes {
            bytes if bytes >= LARGE => self.average * MIB,
            bytes => self.rate() * bytes as f64,
        }
    }
}

/// What perftest's report says of `metric`, in its unit.
fn parse(metric: Metric, text: &str) -> Result<f64> {
    let report: Report =
        serde_json::from_str(text).with_context(|| format!("perftest's report:\n{text}"))?;
    Ok(match (metric, report.results) {
        (Metric::Latency, Results::Latency { typical }) => typical,
        (Metric::Rate, Results::Moved(moved)) => moved.rate(),
        (Metric::Bandwidth, Results::Moved(moved)) => moved.bandwidth(),
        // perftest gives the sum of both directions.
        (Metric::Duplex, Results::Moved(moved)) => moved.bandwidth() / 2.0,
        _ => bail!("perftest does not report {metric:?}:\n{text}"),
    })
}

fn program(metric: Metric, verb: Verb) -> Result<&'static str> {
    Ok(match (metric, verb) {
        (Metric::Bandwidth | Metric::Duplex | Metric::Rate, Verb::Write) => "ib_write_bw",
        (Metric::Bandwidth | Metric::Duplex | Metric::Rate, Verb::Read) => "ib_read_bw",
        (Metric::Bandwidth | Metric::Duplex | Metric::Rate, Verb::Send) => "ib_send_bw",
        (Metric::Latency, Verb::Write) => "ib_write_lat",
        (Metric::Latency, Verb::Read) => "ib_read_lat",
        (Metric::Latency, Verb::Send) => "ib_send_lat",
        _ => bail!("perftest does not measure {metric:?} of {verb:?}"),
    })
}

/// What its programs are told beside the size and the number of messages.
fn options(metric: Metric, flows: u32) -> String {
    match metric {
        Metric::Duplex => format!("-q {flows} -b"),
        // Each request has its completion: else a new one is posted only when the last of many before it has completed.
        Metric::Rate => format!("-q {flows} -t {IN_FLIGHT} -Q 1"),
        Metric::Bandwidth => format!("-q {flows}"),
        _ => String::new(),
    }
}

/// Where each program leaves what it complains of.
const COMPLAINTS: &str = "/tmp/perftest-complaints";

/// What it says that has found the processor's clock and the kernel's to disagree, as they do when it is kept from running meanwhile. Its
/// figures are of no use then; of both directions, it gives one.
const BAD_CLOCK: &str = "Correlation coefficient";

/// How often is measured because of that, at most.
const TRIES: u32 = 20;

/// Measures `subject` with `count` messages on each QP.
pub fn measure(testbed: &Testbed<'_>, subject: &Subject, count: u64) -> Result<f64> {
    let Subject {
        metric,
        transport,
        verb,
        bytes,
        flows,
        ..
    } = *subject;
    let program = program(metric, verb)?;
    let device = verbs_device(transport).context("perftest needs a verbs device")?;
    let options = options(metric, flows);
    let command = |host| -> Result<String> {
        let gid = testbed.gid(transport, host)?.to_string();
        let program = format!("{program} -s {bytes} -n {count} {options}");
        Ok(perftest_command(&program, device, &gid, PORT))
    };
    let program = VerbsProgram {
        server_host: SERVER.to_owned(),
        server: format!("exec {} 2> {COMPLAINTS}", command(SERVER)?),
        client: format!(
            "{} --out_json --out_json_file=/tmp/perftest.json {} > /tmp/perftest.log 2> {COMPLAINTS} || \
            {{ cat /tmp/perftest.log {COMPLAINTS} >&2; exit 1; }}\n\
            cat /tmp/perftest.json",
            command(CLIENT)?,
            address(transport, SERVER)
        ),
        port: PORT,
    };
    let mut tries = 1;
    loop {
        let output = program.run(testbed.stage(), CLIENT, LIMIT);
        if has_good_clock(testbed)? {
            return parse(metric, &output?);
        }
        ensure!(
            tries < TRIES,
            "perftest has found its clock to be bad {TRIES} times: is the machine busy?"
        );
        tries += 1;
    }
}

/// Whether neither program has found its clock to be bad.
fn has_good_clock(testbed: &Testbed<'_>) -> Result<bool> {
    for host in [SERVER, CLIENT] {
        let complaints = testbed
            .stage()
            .shell(host, &format!("cat {COMPLAINTS}"), LIMIT)?;
        if complaints.contains(BAD_CLOCK) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bandwidth(bytes: u64) -> String {
        format!(
            r#"{{
"test_info": {{
"test": "RDMA_Write_BW_Test",
"Device": "rxe0",
"Mtu": 4096
}},
"results": {{
"MsgSize": {bytes},
"n_iterations": 100,
"BW_peak": 3.63,
"BW_average": 2.50,
"MsgRate": 0.012345
}}
}}"#
        )
    }

    #[test]
    fn large_messages_have_their_bandwidth_from_the_bandwidth() {
        let found = parse(Metric::Bandwidth, &bandwidth(1 << 20)).unwrap();
        assert_eq!(found, 2.5 * MIB);
    }

    #[test]
    fn small_messages_have_their_bandwidth_from_the_rate() {
        let found = parse(Metric::Bandwidth, &bandwidth(64)).unwrap();
        assert!((found - 12345.0 * 64.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn the_rate_is_in_messages() {
        let found = parse(Metric::Rate, &bandwidth(64)).unwrap();
        assert!((found - 12345.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn of_both_directions_it_is_the_half() {
        let found = parse(Metric::Duplex, &bandwidth(1 << 20)).unwrap();
        assert_eq!(found, 1.25 * MIB);
        assert!(options(Metric::Duplex, 1).contains("-b"));
    }

    #[test]
    fn latency_is_the_typical_one() {
        let text = r#"{"test_info": {}, "results": {"MsgSize": 64, "n_iterations": 300, "t_min": 1.5,
            "t_max": 9.0, "t_typical": 2.25, "t_avg": 2.5, "t_stdev": 0.5, "percentile_99": 8.0, "percentile_99.9": 9.0}}"#;
        assert_eq!(parse(Metric::Latency, text).unwrap(), 2.25);
        assert!(parse(Metric::Bandwidth, text).is_err());
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in ["", "{}", "Couldn't connect", r#"{"results": {"t_max": 1}}"#] {
            assert!(parse(Metric::Latency, text).is_err(), "{text}");
        }
    }
}
