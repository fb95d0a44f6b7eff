// SPDX-License-Identifier: GPL-2.0

//! perftest's programs: how they are called, and what their tables say.

use std::io::Read;
use std::net::IpAddr;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::plan::Metric;
use super::plan::Test;
use super::plan::Verb;
use super::TestResult;

/// How long bandwidth is measured, in seconds.
const SECONDS: u32 = 3;

/// How many messages latency is measured with.
const MESSAGES: u32 = 1000;

/// How long a program may take.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Where one end of a test is.
#[derive(Clone, Debug)]
pub struct End {
    /// The verbs device.
    pub device: String,
    /// Number of its GID.
    pub gid: u32,
    /// TCP port by which the two programs find each other.
    pub port: u16,
    /// The kind of address of the server.
    pub over: Over,
}

/// By which kind of address the two programs find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Over {
    /// The kind of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The program for `test`.
pub fn program(test: Test) -> &'static str {
    match (test.metric, test.verb) {
        (Metric::Bandwidth | Metric::BothWays, Verb::Write) => "ib_write_bw",
        (Metric::Bandwidth | Metric::BothWays, Verb::Read) => "ib_read_bw",
        (Metric::Bandwidth | Metric::BothWays, Verb::Send) => "ib_send_bw",
        (Metric::Latency, Verb::Write) => "ib_write_lat",
        (Metric::Latency, Verb::Read) => "ib_read_lat",
        (Metric::Latency, Verb::Send) => "ib_send_lat",
    }
}

/// What the program for `test` is told at one end.
pub fn arguments(test: Test, end: &End) -> Vec<String> {
    let mut arguments = vec![
        format!("--ib-dev={}", end.device),
        format!("--gid-index={}", end.gid),
        format!("--port={}", end.port),
        format!("--size={}", test.size.bytes()),
        // Clocks of processors that change are no reason to refuse.
        "--CPU-freq".to_owned(),
    ];
    match test.metric {
        Metric::Latency => arguments.push(format!("--iters={MESSAGES}")),
        Metric::Bandwidth | Metric::BothWays => {
            arguments.push(format!("--duration={SECONDS}"));
            arguments.push("--report_gbits".to_owned());
        }
    }
    if test.metric == Metric::BothWays {
        arguments.push("--bidirectional".to_owned());
    }
    if end.over == Over::V6 {
        arguments.push("--ipv6-addr".to_owned());
    }
    arguments
}

/// A program that runs, and is killed when this is dropped.
pub struct Running {
    child: Child,
    name: &'static str,
}

/// How a program has ended.
pub struct Ended {
    /// What it has written.
    pub output: String,
    /// What it has complained of.
    pub complaints: String,
}

impl Running {
    /// Starts the program for `test` at one end; the client's is told the server's address.
    pub fn start(test: Test, end: &End, server: Option<&str>) -> Result<Self> {
        let name = program(test);
        let child = Command::new(name)
            .args(arguments(test, end))
            .args(server)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name} (of the package perftest)"))?;
        Ok(Self { child, name })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it has ended, for so long at most. Its tables are small: they fit the pipes.
    pub fn wait(mut self, limit: Duration) -> Result<Ended> {
        const PAUSE: Duration = Duration::from_millis(20);
        let name = self.name;
        let begin = Instant::now();
        while !self.has_ended()? {
            if begin.elapsed() > limit {
                bail!("{name} has not ended after {} seconds", limit.as_secs());
            }
            thread::sleep(PAUSE);
        }
        let mut ended = Ended {
            output: String::new(),
            complaints: String::new(),
        };
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut ended.output)?;
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut ended.complaints)?;
        }
        let status = self.child.wait()?;
        let last = |text: &str| {
            text.trim_end()
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let words = match ended.complaints.trim() {
            "" => last(&ended.output),
            complaints => last(complaints),
        };
        ensure!(status.success(), "{name} failed, {status}: {words}");
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is not killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says that has found the processor's clock and the kernel's to disagree. Its figures are of no use then.
const BAD_CLOCK: &str = "Correlation coefficient";

impl Ended {
    /// Whether the program has found its clock to be of no use.
    pub fn has_bad_clock(&self) -> bool {
        self.complaints.contains(BAD_CLOCK)
    }
}

/// What the table of the program for `test` says.
pub fn parse(test: Test, output: &str) -> Result<TestResult> {
    const BYTES: usize = 0;
    /// Columns of bandwidth, behind bytes, iterations and peak.
    const AVERAGE: usize = 3;
    /// Columns of latency, behind bytes, iterations, minimum and maximum.
    const TYPICAL: usize = 4;
    /// Behind the mean and the deviation.
    const PERCENTILE_99: usize = 7;
    let bytes = test.size.bytes().to_string();
    let rows = output
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut after_heading = rows
        .skip_while(|row| row.first() != Some(&"#bytes"))
        .skip(1);
    let row = after_heading
        .find(|row| row.get(BYTES) == Some(&bytes.as_str()))
        .with_context(|| format!("{} has shown no figures", program(test)))?;
    let number = |column: usize| -> Result<f64> {
        let text = row
            .get(column)
            .with_context(|| format!("there is no column {column}"))?;
        text.parse()
            .with_context(|| format!("{text:?} is no number"))
    };
    let mut result = TestResult {
        test,
        gbps: None,
        typical_us: None,
        p99_us: None,
        error: None,
    };
    match test.metric {
        Metric::Latency => {
            result.typical_us = Some(number(TYPICAL)?);
            result.p99_us = number(PERCENTILE_99).ok();
        }
        Metric::Bandwidth => result.gbps = Some(number(AVERAGE)?),
        // It gives the sum.
        Metric::BothWays => result.gbps = Some(number(AVERAGE)? / 2.0),
    }
    let figure = result.gbps.or(result.typical_us).unwrap_or_default();
    // It divides by a clock's rate that it may have found to be none.
    ensure!(
        figure > 0.0 && figure.is_finite(),
        "{} has measured nothing",
        program(test)
    );
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests;
    use crate::bench::plan::Size;

    const BANDWIDTH: &str = "\
 WARNING: BW peak won't be measured in this run.
---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 GID index       : 1
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 1048576    1714           0.000000            7.250000            0.000864
---------------------------------------------------------------------------------------
";

    const LATENCY: &str = "\
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   \
99% percentile[usec]   99.9% percentile[usec] 
 64      1000          90.11          250.20       101.50             103.20         7.31            140.25                  250.20              
";

    fn test(metric: Metric, size: Size) -> Test {
        Test {
            metric,
            verb: Verb::Write,
            size,
        }
    }

    #[test]
    fn bandwidth_is_the_average() {
        let result = parse(test(Metric::Bandwidth, Size::Large), BANDWIDTH).unwrap();
        assert_eq!(result.gbps, Some(7.25));
        let result = parse(test(Metric::BothWays, Size::Large), BANDWIDTH).unwrap();
        assert_eq!(result.gbps, Some(3.625));
    }

    #[test]
    fn latency_is_the_typical_one() {
        let result = parse(test(Metric::Latency, Size::Small), LATENCY).unwrap();
        assert_eq!(
            (result.typical_us, result.p99_us),
            (Some(101.5), Some(140.25))
        );
        assert_eq!(result.gbps, None);
    }

    #[test]
    fn no_figure_is_an_error() {
        let bandwidth = test(Metric::Bandwidth, Size::Large);
        for output in [
            "",
            "#bytes\n",
            &BANDWIDTH.replace("7.250000", "0.000000"),
            &BANDWIDTH.replace("7.250000", "x"),
            LATENCY,
        ] {
            assert!(parse(bandwidth, output).is_err(), "{output}");
        }
        let endless = LATENCY.replace("101.50", "inf");
        assert!(parse(test(Metric::Latency, Size::Small), &endless).is_err());
    }

    #[test]
    fn both_ends_are_told_the_same() {
        let end = |gid, over| End {
            device: "usb4_roce0".to_owned(),
            gid,
            port: 18515,
            over,
        };
        for test in tests() {
            let mut a = arguments(test, &end(1, Over::V4));
            let mut b = arguments(test, &end(3, Over::V4));
            let gid = |argument: &String| argument.starts_with("--gid-index=");
            a.retain(|argument| !gid(argument));
            b.retain(|argument| !gid(argument));
            assert_eq!(a, b);
            assert!(arguments(test, &end(1, Over::V6)).contains(&"--ipv6-addr".to_owned()));
        }
    }
}
