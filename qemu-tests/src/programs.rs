// SPDX-License-Identifier: GPL-2.0

//! The distribution's programs that have a server on one host and a client on the other.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use crate::roce;
use crate::roce::DEVICE;
use crate::roce::FIND_GID;
use crate::stage::Job;
use crate::stage::Pair;
use crate::stage::Ready;
use crate::stage::Stage;

/// Host of the servers.
const SERVER: &str = "a";

/// A program over `usb4_roce`. Its server runs on host `a`.
pub struct VerbsProgram {
    /// Script of the server; the client's has the server's address behind it.
    script: String,
    /// TCP port on which the server listens for its client.
    port: u16,
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
    VerbsProgram {
        script: format!("{FIND_GID}\nexec ibv_rc_pingpong -d {DEVICE} -g $gid -p {port} {options}"),
        port,
    }
}

/// A program of perftest; `command` is its name and its options.
pub fn perftest(command: &str, port: u16) -> VerbsProgram {
    VerbsProgram {
        script: format!("{FIND_GID}\nexec {command} -d {DEVICE} -x $gid -p {port} -F"),
        port,
    }
}

impl VerbsProgram {
    fn client(&self) -> String {
        format!("{} {}", self.script, roce::address(SERVER))
    }

    /// Runs it with the client on `client_host`; gives what the client wrote.
    pub fn run(&self, stage: &Stage<'_>, client_host: &str, limit: Duration) -> Result<String> {
        let (_, output) = stage.pair(&Pair {
            server_host: SERVER,
            server: &self.script,
            ready: Ready::Port(self.port),
            client_host,
            client: &self.client(),
            limit,
        })?;
        Ok(output)
    }

    /// Starts it with the client on `client_host`; both ends are killed after `limit`.
    pub fn start(&self, stage: &Stage<'_>, client_host: &str, limit: Duration) -> Result<Ends> {
        Ok(Ends {
            server: stage.serve(SERVER, &self.script, Ready::Port(self.port), limit)?,
            client: stage.start(client_host, &self.client(), limit)?,
        })
    }
}

/// A TCP transfer of some seconds from host `b` to host `a`, which has that address. Fails if no data arrives.
pub fn iperf(stage: &Stage<'_>, address: &str, limit: Duration) -> Result<()> {
    const PORT: u16 = 5201;
    let (_, report) = stage.pair(&Pair {
        server_host: SERVER,
        server: &format!("iperf3 -s -1 -p {PORT}"),
        ready: Ready::Port(PORT),
        client_host: "b",
        client: &format!("iperf3 -c {address} -p {PORT} -t 3 -J"),
        limit,
    })?;
    let report: serde_json::Value = serde_json::from_str(&report).context("iperf3's report")?;
    let received = report["end"]["sum_received"]["bytes"].as_f64();
    let received = received.context("iperf3 reports no bytes")?;
    ensure!(received > 0.0, "no data arrived");
    Ok(())
}
