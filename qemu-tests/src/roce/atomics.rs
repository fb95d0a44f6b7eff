// SPDX-License-Identifier: GPL-2.0

//! Atomic operations of one host on words of another one, counted by both.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::client_program::ClientProgram;
use super::ongoing::Ongoing;
use crate::hosts::stage::Stage;

/// The program that does and counts them.
const PROGRAM: &str = "verbs-atomics";

/// Port on which its two ends find each other.
const PORT: u16 = 7002;

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
pub struct Counting(Ongoing);

impl Counting {
    /// Begins.
    pub fn start(stage: &Stage<'_>, limit: Duration) -> Result<Self> {
        Ongoing::start(stage, &program(), limit).map(Self)
    }

    /// Ends. Fails unless each was done once.
    pub fn stop(self, stage: &Stage<'_>, limit: Duration) -> Result<()> {
        let report = self.0.stop(stage, limit)?;
        check(stage, &report)
    }
}
