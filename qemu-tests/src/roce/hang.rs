// SPDX-License-Identifier: GPL-2.0

//! Requests in flight whose peer is taken away.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::client_program::ClientProgram;
use super::programs::Ends;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;

/// Time limit of a program, with whatever happens to its peer.
const LIMIT: Duration = Duration::from_secs(360);

/// What the programs say goes there.
const WORDS: &str = "/tmp/words";

/// A program at each of two hosts with requests to the other one in flight.
pub struct Hang {
    ends: Ends,
}

impl Hang {
    /// Starts them, and waits until there are requests in flight.
    pub fn start(stage: &Stage<'_>, server: &str, client: &str) -> Result<Self> {
        let program = ClientProgram {
            name: "verbs-errors",
            options: "--hang 100 --timeout 60",
            port: 7002,
        };
        let mut program = program.between(server, "");
        for host in [server, client] {
            // What an earlier program has said there is not what this one says.
            stage.shell(host, &format!("rm -f {WORDS}"), LIMIT)?;
        }
        for script in [&mut program.server, &mut program.client] {
            *script = format!("exec 2> {WORDS}; {script}");
        }
        let ends = program.start(stage, client, LIMIT)?;
        let in_flight = format!("until grep -qs 'in flight' {WORDS}; do sleep 0.1; done");
        for host in [server, client] {
            stage.shell(host, &in_flight, LIMIT)?;
        }
        Ok(Self { ends })
    }

    /// Waits until the requests of both have failed, as those to a peer that does not answer do.
    pub fn await_failure(self, stage: &Stage<'_>) -> Result<()> {
        for job in [&self.ends.client, &self.ends.server] {
            await_failure(stage, job)?;
        }
        Ok(())
    }

    /// The same of the server's, whose client is gone with its host.
    pub fn await_failure_of_server(self, stage: &Stage<'_>) -> Result<()> {
        await_failure(stage, &self.ends.server)
    }
}

fn await_failure(stage: &Stage<'_>, job: &Job) -> Result<()> {
    let report = stage.finish(job, LIMIT)?;
    let report: Value = serde_json::from_str(&report).context("the report")?;
    ensure!(
        report["hang"]["ended_with"] == "RETRY_EXC_ERR",
        "the loss of the peer was noticed otherwise: {report}"
    );
    Ok(())
}
