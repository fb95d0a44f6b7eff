// SPDX-License-Identifier: GPL-2.0

//! Atomic operations of one host on words of another one, counted by both.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::client_program::ClientProgram;
use super::programs::Ends;
use crate::hosts::stage::Stage;

/// The program that does and counts them.
const PROGRAM: &str = "verbs-atomics";

/// Port on which its two ends find each other.
const PORT: u16 = 7002;

/// At the client: when it comes into being, no more are begun.
const STOP: &str = "/tmp/stop-atomics";

/// How long an order to a host may take.
const ORDER_LIMIT: Duration = Duration::from_secs(120);

fn program() -> ClientProgram<'static> {
    ClientProgram {
        name: PROGRAM,
        options: "",
        port: PORT,
    }
}

/// What was done, of which all was done once.
fn check(stage: &Stage<'_>, report: &str) -> Result<()> {
    let report: Value = serde_json::from_str(report).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    for what in ["added", "swapped", "written", "flushed"] {
        ensure!(
            report["client"][what].as_u64() > Some(0),
            "the client has {what} nothing: {report}"
        );
    }
    stage.note(&report.to_string());
    Ok(())
}

/// Some thousands, of host `b` on words of host `a`.
pub fn between(stage: &Stage<'_>, limit: Duration) -> Result<()> {
    let report = program().between("a", "").run(stage, "b", limit)?;
    check(stage, &report)
}

/// The same within host `a`.
pub fn loopback(stage: &Stage<'_>, limit: Duration) -> Result<()> {
    let report = program().loopback(stage, "a", "", limit)?;
    check(stage, &report)
}

/// They go on in the background until they are stopped.
pub struct Counting {
    ends: Ends,
}

impl Counting {
    /// Begins.
    pub fn start(stage: &Stage<'_>, limit: Duration) -> Result<Self> {
        stage.shell("b", &format!("rm -f {STOP}"), ORDER_LIMIT)?;
        let program = program().between("a", &format!("--until {STOP}"));
        Ok(Self {
            ends: program.start(stage, "b", limit)?,
        })
    }

    /// Ends. Fails unless each was done once.
    pub fn stop(self, stage: &Stage<'_>, limit: Duration) -> Result<()> {
        stage.shell("b", &format!("touch {STOP}"), ORDER_LIMIT)?;
        let client = stage.wait(&self.ends.client, limit)?;
        if !client.status.success() {
            stage.kill(&self.ends.server)?;
            let server = stage.wait(&self.ends.server, ORDER_LIMIT)?;
            bail!(
                "the client broke off: {}{}",
                client.everything(),
                server.everything()
            );
        }
        stage.finish(&self.ends.server, limit)?;
        check(stage, &client.text())
    }
}
