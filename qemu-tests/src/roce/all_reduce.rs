// SPDX-License-Identifier: GPL-2.0

//! The all-reduce between the hosts, by the `allreduce` client program.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;

/// Time limit of a rank. Under TCG some tens of MB move in a second.
const LIMIT: Duration = Duration::from_secs(700);

/// Port on which the ranks find each other.
const PORT: u16 = 7000;

/// What rank 0 reports.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Whether every sum was right.
    pub ok: bool,
    /// The verbs device.
    pub device: String,
    /// Bytes of sums that were checked on this rank.
    pub verified_bytes: u64,
    /// What the cable carried each way, in Gb/s.
    pub bus_gbps: f64,
    /// An 8-byte WRITE with immediate data, one way.
    pub latency_write_imm: Option<Latency>,
}

/// How long a message takes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Latency {
    /// Median in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
}

/// Sums a float32 tensor of `bytes` bytes over all hosts, with the further `options`; each rank checks
/// every sum. Gives the reports of all ranks in order.
pub fn run(stage: &Stage<'_>, bytes: u64, options: &str) -> Result<Vec<Report>> {
    let hosts = stage.instance().names();
    let addresses = hosts
        .iter()
        .map(|host| format!("{}:{PORT}", roce::address(host)));
    let peers = addresses.collect::<Vec<_>>().join(",");
    let ranks = hosts.len();
    let jobs: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(rank, host)| {
            let script = format!(
                "exec /lab/share/allreduce --device {DEVICE} --json --rank {rank} --ranks {ranks} \
                --peers {peers} --bytes {bytes} {options}"
            );
            stage.start(host, &script, LIMIT)
        })
        .collect::<Result<_>>()?;
    let mut reports = Vec::new();
    for job in &jobs {
        let text = stage.finish(job, LIMIT)?;
        let report: Report = serde_json::from_str(&text).context("the report of allreduce")?;
        ensure!(report.ok, "{text}");
        ensure!(
            report.verified_bytes >= bytes,
            "only {} bytes were verified",
            report.verified_bytes
        );
        reports.push(report);
    }
    Ok(reports)
}
