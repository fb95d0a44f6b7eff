// SPDX-License-Identifier: GPL-2.0

//! A program with a server and a client, which may fail at either end.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use lab_agent::protocol::ExitStatus;

use super::finding::Finding;
use super::finding::Verdict;
use crate::hosts::agent::Output;
use crate::hosts::stage::Stage;
use crate::roce::FIND_GID;
use crate::suite::both_devices::Device;

/// How long each end may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long what only looks may take.
const LOOK_LIMIT: Duration = Duration::from_secs(90);

/// The host of the server.
const SERVER: &str = "a";

/// What a shell adds to the number of the signal that has killed a program.
const SIGNALLED: i32 = 128;

/// Longest excerpt of what an end said, in characters.
const EXCERPT: usize = 200;

/// What the beginnings of lines are that perftest says whatever becomes of the run.
const NOISE: [&str; 3] = [
    "Device not recognized to implement inline",
    "Conflicting CPU frequency values",
    "Correlation coefficient",
];

/// Where the client runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// On the other host.
    Cable,
    /// On the server's host.
    Loopback,
}

impl Path {
    const fn client(self) -> &'static str {
        match self {
            Self::Cable => "b",
            Self::Loopback => SERVER,
        }
    }
}

/// How a server is seen to listen for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// At a TCP port.
    Tcp,
    /// At a port of rdma_cm.
    ConnectionManager,
    /// By a queue pair for datagrams, to which nobody connects.
    Datagrams,
}

/// The two ends of a program. Both know the device's name as `$device`, its GID as `$gid`, the port as `$port`, the server's address as
/// `$address`, and that of their own host as `$own_address`.
pub struct Ends {
    /// What the server runs.
    pub server: String,
    /// What the client runs.
    pub client: String,
    /// How the server listens.
    pub listens: Listens,
    /// The port, if the program has one of its own.
    pub port: Option<u16>,
}

impl Ends {
    /// Those of a program whose client is the same command, with the server's address behind it.
    pub fn alike(command: &str, listens: Listens) -> Self {
        Self {
            server: command.to_owned(),
            client: format!("{command} $address"),
            listens,
            port: None,
        }
    }
}

/// Runs programs one after the other on a device.
pub struct Runner<'a> {
    stage: &'a Stage<'a>,
    device: Device,
    next_port: u16,
}

impl<'a> Runner<'a> {
    /// For programs on `device`.
    pub const fn new(stage: &'a Stage<'a>, device: Device) -> Self {
        Self {
            stage,
            device,
            next_port: device.first_port(),
        }
    }

    /// Runs a program. An error means that a host is gone.
    pub fn run(&mut self, path: Path, ends: &Ends) -> Result<Finding> {
        let began = Instant::now();
        let port = ends.port.unwrap_or(self.next_port);
        self.next_port += 1;
        let device = self.device.verbs_name();
        let address = self.device.address(SERVER);
        let ended = format!("/tmp/ended-{port}");
        // The port comes behind what finds the GID, which has a variable of that name.
        let script = |host| {
            let own_address = self.device.address(host);
            format!("device={device}\n{FIND_GID}\nport={port}\naddress={address}\nown_address={own_address}\n")
        };
        let server = format!(
            "{}{}\nstatus=$?; touch {ended}; exit $status",
            script(SERVER),
            ends.server
        );
        let client = format!("{}{}", script(path.client()), ends.client);

        // One of another test's had the same port.
        let forget = format!("rm -f {ended}");
        self.stage.shell(SERVER, &forget, LOOK_LIMIT)?;
        let server = self.stage.start(SERVER, &server, LIMIT)?;
        // A server that cannot even begin never listens.
        let listens = match ends.listens {
            Listens::Tcp => format!("ss -ltn | grep -q :{port}"),
            Listens::ConnectionManager => {
                format!("rdma resource show cm_id | grep -q \"LISTEN.*:{port} \"")
            }
            Listens::Datagrams => {
                format!("rdma resource show qp link {device} | grep -q 'type UD state RTS'")
            }
        };
        let ready =
            format!("until {listens} || [ -e {ended} ]; do sleep 0.05; done; ! [ -e {ended} ]");
        let ready = self.stage.attempt(SERVER, &ready, LOOK_LIMIT)?;
        let client = match ready.status.success() {
            true => Some(self.stage.attempt(path.client(), &client, LIMIT)?),
            false => None,
        };
        if client
            .as_ref()
            .is_some_and(|client| !client.status.success())
        {
            // Its last words may explain the client's.
            let last = format!("for i in $(seq 20); do [ -e {ended} ] && exit; sleep 0.1; done");
            self.stage.attempt(SERVER, &last, LOOK_LIMIT)?;
            self.stage.kill(&server)?;
        }
        let server = self.stage.wait(&server, LIMIT)?;
        let (verdict, words) = judge(client.as_ref(), &server);
        Ok(Finding {
            verdict,
            words,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

/// What the ends, of which there may be no client, make together.
fn judge(client: Option<&Output>, server: &Output) -> (Verdict, String) {
    let failed = client.into_iter().chain([server]);
    let failed: Vec<&Output> = failed.filter(|end| !end.status.success()).collect();
    // The client's word comes first: its server may have been killed for it.
    let Some(first) = failed.first() else {
        return (Verdict::Pass, String::new());
    };
    let verdict = match first.status {
        ExitStatus::TimedOut => Verdict::Hang,
        ExitStatus::Signal(_) => Verdict::Crash,
        ExitStatus::Code(code) if code > SIGNALLED => Verdict::Crash,
        ExitStatus::Code(_) => Verdict::Fail,
    };
    let mut said = failed.iter().map(|end| words(end));
    let said = said.find(|words| !words.is_empty());
    (verdict, said.unwrap_or_else(|| first.status.to_string()))
}

/// What an end has complained of, on one line.
fn words(end: &Output) -> String {
    let errors = String::from_utf8_lossy(&end.stderr);
    let is_noise = |line: &&str| NOISE.iter().any(|noise| line.trim().starts_with(noise));
    let complaints = errors.lines().filter(|line| !is_noise(line));
    let complaints: Vec<&str> = complaints.flat_map(str::split_whitespace).collect();
    let words = match complaints.is_empty() {
        true => last_line(&end.text()),
        false => complaints.join(" "),
    };
    words.chars().take(EXCERPT).collect()
}

fn last_line(text: &str) -> String {
    let mut lines = text.lines().rev().map(str::trim);
    let last = lines.find(|line| !line.is_empty() && !line.chars().all(|c| c == '-'));
    last.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: ExitStatus, stdout: &str, stderr: &str) -> Output {
        Output {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn both_ends_have_to_do_well() {
        let good = output(ExitStatus::Code(0), "figures", "a warning");
        let bad = output(
            ExitStatus::Code(1),
            "--\nhead\n ---\n",
            " Couldn't\n create QP\n",
        );
        let mute = output(ExitStatus::Code(1), "x\nFailed to y\n-----\n", "");
        let late = output(ExitStatus::TimedOut, "", "");
        let dead = output(ExitStatus::Code(139), "", "Segmentation fault");
        let judged = |client, server| {
            let (verdict, words) = judge(client, server);
            (verdict.name(), words)
        };
        let expect = |words: &str| words.to_owned();
        assert_eq!(judged(Some(&good), &good), ("pass", String::new()));
        assert_eq!(
            judged(Some(&good), &bad),
            ("fail", expect("Couldn't create QP"))
        );
        assert_eq!(judged(Some(&mute), &bad), ("fail", expect("Failed to y")));
        assert_eq!(judged(None, &bad), ("fail", expect("Couldn't create QP")));
        assert_eq!(
            judged(Some(&late), &good),
            ("hang", expect("killed at its time limit"))
        );
        assert_eq!(
            judged(Some(&dead), &good),
            ("crash", expect("Segmentation fault"))
        );
    }
}
