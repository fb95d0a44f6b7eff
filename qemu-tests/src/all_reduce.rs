// SPDX-License-Identifier: GPL-2.0

//! The all-reduce between two hosts, by the `allreduce` client program.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use crate::roce;
use crate::roce::DEVICE;
use crate::stage::Pair;
use crate::stage::Stage;

/// Time limit of each end. Under TCG some tens of MB move in a second.
const LIMIT: Duration = Duration::from_secs(180);

/// Port on which the two ends find each other.
const PORT: u16 = 7000;

/// What the program reports.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Whether every sum was right.
    pub ok: bool,
}

/// Sums `bytes` bytes of float32 on two hosts; every sum is checked by the program.
pub fn run(stage: &Stage<'_>, bytes: u64) -> Result<Report> {
    let program = format!("/lab/share/allreduce --device {DEVICE} --json");
    let address = format!("{}:{PORT}", roce::address("a"));
    let (_, report) = stage.pair(&Pair {
        server_host: "a",
        server: &format!("{program} --listen {address}"),
        ready: &format!("ss -ltn | grep -q :{PORT}"),
        client_host: "b",
        client: &format!("{program} --bytes {bytes} --connect {address}"),
        limit: LIMIT,
    })?;
    let report: Report = serde_json::from_str(&report).context("the report of allreduce")?;
    ensure!(report.ok, "{report:?}");
    Ok(report)
}
