// SPDX-License-Identifier: GPL-2.0

//! The distribution's programs that have a server on one host and a client on the other.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use crate::hosts::stage::Job;
use crate::hosts::stage::Pair;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;
use crate::roce::FIND_GID;

/// Host of the servers.
const SERVER: &str = "a";

/// A program over a verbs device.
pub struct VerbsProgram {
    /// Host of the server.
    pub server_host: String,
    /// Script of the server.
    pub server: String,
    /// Script of the client.
    pub client: String,
    /// TCP port on which the server listens for its client.
    pub port: u16,
}

/// Both ends of a program, in the background.
pub struct Ends {
    /// The server.
    pub server: Job,
    /// The client.
    pub client: Job,
}

impl Ends {
    /// Kills both, the client first, and waits for each for up to `limit`.
    pub fn kill(&self, stage: &Stage<'_>, limit: Duration) -> Result<()> {
        for job in [&self.client, &self.server] {
            stage.kill(job)?;
            stage.wait(job, limit)?;
        }
        Ok(())
    }
}

/// `ibv_rc_pingpong` with `options`.
pub fn pingpong(options: &str, port: u16) -> VerbsProgram {
    let command = format!("ibv_rc_pingpong -d {DEVICE} -g $gid -p {port} {options}");
    VerbsProgram::over_roce(FIND_GID, &command, port)
}

/// `ibv_uc_pingpong` with `options`.
pub fn unreliable_pingpong(options: &str, port: u16) -> VerbsProgram {
    let command = format!("ibv_uc_pingpong -d {DEVICE} -g $gid -p {port} {options}");
    VerbsProgram::over_roce(FIND_GID, &command, port)
}

/// A program of perftest; `command` is its name and its options.
pub fn perftest(command: &str, port: u16) -> VerbsProgram {
    let command = perftest_command(command, DEVICE, "$gid", port);
    VerbsProgram::over_roce(FIND_GID, &command, port)
}

/// A program of perftest over the GID `gid` of `device`.
pub fn perftest_command(command: &str, device: &str, gid: &str, port: u16) -> String {
    format!("{command} -d {device} -x {gid} -p {port} -F")
}

impl VerbsProgram {
    /// `command`, which knows our GID as `$gid`, as the script `gid` finds it; the client's has the server's address behind it.
    pub fn over_roce(gid: &str, command: &str, port: u16) -> Self {
        let script = format!("{gid}\nexec {command}");
        Self {
            server_host: SERVER.to_owned(),
            client: format!("{script} {}", roce::address(SERVER)),
            server: script,
            port,
        }
    }

    /// Runs it with the client on `client_host`; gives what the client wrote.
    pub fn run(&self, stage: &Stage<'_>, client_host: &str, limit: Duration) -> Result<String> {
        let (_, output) = stage.pair(&Pair {
            server_host: &self.server_host,
            server: &self.server,
            ready: Ready::Port(self.port),
            client_host,
            client: &self.client,
            limit,
        })?;
        Ok(output)
    }

    /// Starts it with the client on `client_host`; both ends are killed after `limit`.
    pub fn start(&self, stage: &Stage<'_>, client_host: &str, limit: Duration) -> Result<Ends> {
        Ok(Ends {
            server: stage.serve(
                &self.server_host,
                &self.server,
                Ready::Port(self.port),
                limit,
            )?,
            client: stage.start(client_host, &self.client, limit)?,
        })
    }
}

/// Whether requests may go in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// They may.
    Allowed,
    /// Each has to go in one frame.
    Forbidden,
}

/// How a host pings another one.
pub struct Ping<'a> {
    /// Requests.
    pub count: u32,
    /// Bytes in each.
    pub size: u32,
    /// Whether they may go in pieces.
    pub pieces: Pieces,
    /// The other host's address.
    pub to: &'a str,
}

impl<'a> Ping<'a> {
    /// Bytes that ping sends unless it is told otherwise.
    const SIZE: u32 = 56;

    /// `count` small requests to the address `to`.
    pub fn small(count: u32, to: &'a str) -> Self {
        Self {
            count,
            size: Self::SIZE,
            pieces: Pieces::Forbidden,
            to,
        }
    }

    /// Sends the requests from host `from`. Fails unless each is answered, once.
    pub fn run(&self, stage: &Stage<'_>, from: &str, limit: Duration) -> Result<()> {
        let Self {
            count, size, to, ..
        } = self;
        let discovery = match self.pieces {
            Pieces::Allowed => "dont",
            Pieces::Forbidden => "do",
        };
        let script = format!("ping -c {count} -i 0.05 -W 5 -M {discovery} -s {size} {to}");
        let text = stage.shell(from, &script, limit)?;
        ensure!(
            all_answered(&text, *count),
            "not each request was answered:\n{text}"
        );
        Ok(())
    }
}

/// Whether ping, which wrote `text`, got one answer to each of `count` requests.
fn all_answered(text: &str, count: u32) -> bool {
    let summary = format!("{count} packets transmitted, {count} received, 0% packet loss");
    text.lines().any(|line| line.starts_with(&summary))
}

/// What a transfer of some seconds moves at the least, in bytes: a fifth of what it moved where fifteen other programs wanted each
/// core.
const IPERF_FLOOR: f64 = 5e5;

/// In so many of the last seconds each flow moves something.
const IPERF_END: usize = 6;

/// TCP transfers from host `b` to host `a`.
pub struct Iperf<'a> {
    /// The address of host `a`.
    pub to: &'a str,
    /// How long they take, in seconds.
    pub seconds: u32,
    /// How many there are at once.
    pub flows: u32,
}

impl<'a> Iperf<'a> {
    /// One, of some seconds.
    pub fn brief(to: &'a str) -> Self {
        Self {
            to,
            seconds: 3,
            flows: 1,
        }
    }

    /// Runs them. Fails unless each moves something, and all together [`IPERF_FLOOR`].
    pub fn run(&self, stage: &Stage<'_>, limit: Duration) -> Result<()> {
        self.run_during(stage, limit, || Ok(()))
    }

    /// The same, with `event` happening meanwhile.
    pub fn run_during(
        &self,
        stage: &Stage<'_>,
        limit: Duration,
        event: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        const PORT: u16 = 5201;
        let Self { to, seconds, flows } = self;
        let server = format!("iperf3 -s -1 -p {PORT}");
        let server = stage.serve(SERVER, &server, Ready::Port(PORT), limit)?;
        let client = format!("iperf3 -c {to} -p {PORT} -t {seconds} -P {flows} -J");
        let client = stage.start("b", &client, limit)?;
        event()?;
        let report = stage.finish(&client, limit)?;
        stage.finish(&server, limit)?;
        let report: Value = serde_json::from_str(&report).context("iperf3's report")?;
        check_iperf(&report)
    }
}

fn check_iperf(report: &Value) -> Result<()> {
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    let received = report["end"]["sum_received"]["bytes"].as_f64();
    let received = received.context("iperf3 reports no bytes")?;
    ensure!(
        received >= IPERF_FLOOR,
        "no more than {received} bytes arrived"
    );
    // Each of them, and to the end: one that has stopped has filled its buffers by then.
    let intervals = report["intervals"].as_array();
    let intervals = intervals.context("iperf3 reports no intervals")?;
    let last = &intervals[intervals.len().saturating_sub(IPERF_END)..];
    let flows = report["end"]["streams"].as_array();
    let flows = flows.context("iperf3 reports no flows")?.len();
    for flow in 0..flows {
        let sent = last
            .iter()
            .map(|interval| &interval["streams"][flow]["bytes"]);
        let sent: f64 = sent.filter_map(Value::as_f64).sum();
        ensure!(sent > 0.0, "flow {flow} stands still at the end: {last:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ping_has_to_be_answered_once() {
        let text =
            |summary: &str| format!("--- 10.55.0.2 ping statistics ---\n{summary}, time 1000ms\n");
        let all = text("20 packets transmitted, 20 received, 0% packet loss");
        assert!(all_answered(&all, 20));
        for summary in [
            "20 packets transmitted, 1 received, 95% packet loss",
            "20 packets transmitted, 19 received, 5% packet loss",
            "19 packets transmitted, 19 received, 0% packet loss",
            "20 packets transmitted, 20 received, +1 duplicates, 0% packet loss",
        ] {
            assert!(!all_answered(&text(summary), 20), "{summary}");
        }
    }

    #[test]
    fn a_transfer_has_to_move_data() {
        let report = |flows: &[f64]| {
            let received: f64 = flows.iter().sum();
            let streams: Vec<_> = flows
                .iter()
                .map(|bytes| serde_json::json!({ "bytes": bytes }))
                .collect();
            serde_json::json!({
                "intervals": [{ "streams": streams }],
                "end": { "sum_received": { "bytes": received }, "streams": streams }
            })
        };
        assert!(check_iperf(&report(&[1e8])).is_ok());
        assert!(check_iperf(&report(&[1.0])).is_err());
        assert!(check_iperf(&report(&[1e8, 0.0])).is_err());
        assert!(check_iperf(&serde_json::json!({})).is_err());
        let mut broken = report(&[1e8]);
        broken["error"] = "control socket has closed unexpectedly".into();
        assert!(check_iperf(&broken).is_err());
    }
}
