// SPDX-License-Identifier: GPL-2.0

//! Running perftest's programs between the hosts.

use std::time::Duration;

use anyhow::bail;
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

/// perftest's report.
#[derive(Deserialize)]
struct Report {
    results: Results,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Results {
    Bandwidth {
        #[serde(rename = "MsgSize")]
        bytes: u64,
        /// MiB/s.
        #[serde(rename = "BW_average")]
        average: f64,
        /// Millions of messages per second.
        #[serde(rename = "MsgRate")]
        rate: f64,
    },
    Latency {
        /// Microseconds.
        #[serde(rename = "t_typical")]
        typical: f64,
    },
}

/// Bytes per second or microseconds, from perftest's report.
fn parse(text: &str) -> Result<f64> {
    let report: Report =
        serde_json::from_str(text).with_context(|| format!("perftest's report:\n{text}"))?;
    Ok(match report.results {
        Results::Bandwidth { bytes, average, .. } if bytes >= LARGE => average * MIB,
        Results::Bandwidth { bytes, rate, .. } => rate * 1e6 * bytes as f64,
        Results::Latency { typical } => typical,
    })
}

fn program(metric: Metric, verb: Verb) -> Result<&'static str> {
    Ok(match (metric, verb) {
        (Metric::Bandwidth, Verb::Write) => "ib_write_bw",
        (Metric::Bandwidth, Verb::Read) => "ib_read_bw",
        (Metric::Bandwidth, Verb::Send) => "ib_send_bw",
        (Metric::Latency, Verb::Write) => "ib_write_lat",
        (Metric::Latency, Verb::Read) => "ib_read_lat",
        (Metric::Latency, Verb::Send) => "ib_send_lat",
        (Metric::Goodput | Metric::Instructions, _) | (_, Verb::Bytes) => {
            bail!("perftest does not measure {metric:?} of {verb:?}")
        }
    })
}

/// Measures `subject` with `count` messages on each QP.
pub fn measure(testbed: &Testbed<'_>, subject: &Subject, count: u64) -> Result<f64> {
    let Subject {
        metric,
        transport,
        verb,
        bytes,
        qps,
        ..
    } = *subject;
    let program = program(metric, verb)?;
    let device = verbs_device(transport).context("perftest needs a verbs device")?;
    let qps = match metric {
        Metric::Bandwidth => format!("-q {qps}"),
        _ => String::new(),
    };
    let command = |host| -> Result<String> {
        let gid = testbed.gid(transport, host)?.to_string();
        let program = format!("{program} -s {bytes} -n {count} {qps}");
        Ok(perftest_command(&program, device, &gid, PORT))
    };
    let program = VerbsProgram {
        server_host: SERVER.to_owned(),
        server: format!("exec {}", command(SERVER)?),
        client: format!(
            "{} --out_json --out_json_file=/tmp/perftest.json {} > /tmp/perftest.log || {{ cat /tmp/perftest.log >&2; exit 1; }}\n\
            cat /tmp/perftest.json",
            command(CLIENT)?,
            address(transport, SERVER)
        ),
        port: PORT,
    };
    parse(&program.run(testbed.stage(), CLIENT, LIMIT)?)
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
        assert_eq!(parse(&bandwidth(1 << 20)).unwrap(), 2.5 * MIB);
    }

    #[test]
    fn small_messages_have_their_bandwidth_from_the_rate() {
        let found = parse(&bandwidth(64)).unwrap();
        assert!((found - 12345.0 * 64.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn latency_is_the_typical_one() {
        let text = r#"{"test_info": {}, "results": {"MsgSize": 64, "n_iterations": 300, "t_min": 1.5,
            "t_max": 9.0, "t_typical": 2.25, "t_avg": 2.5, "t_stdev": 0.5, "percentile_99": 8.0, "percentile_99.9": 9.0}}"#;
        assert_eq!(parse(text).unwrap(), 2.25);
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in ["", "{}", "Couldn't connect", r#"{"results": {"t_max": 1}}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
