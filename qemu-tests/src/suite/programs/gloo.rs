// SPDX-License-Identifier: GPL-2.0

//! Gloo, the collectives that PyTorch has for hosts without GPUs, over its ibverbs transport.

use anyhow::ensure;
use anyhow::Result;

use super::run as run_pair;
use super::sent::by_rdma;
use super::Outcome;
use super::HOSTS;
use super::PORT;
use crate::hosts::stage::Stage;
use crate::roce::FIND_GID;

/// Bytes that `gloo-check` moves each way, at the least.
const BYTES: u64 = 100_000_000;

/// Runs `gloo-check`.
pub fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let preparation = format!("{FIND_GID}\n");
    let command = format!("/lab/share/gloo-check $gid {PORT}");
    let text = by_rdma(stage, [BYTES; 2], || {
        run_pair(stage, &preparation, &command, &command)
    })?;
    let ends = text.lines().filter(|line| *line == "gloo-check: ok");
    ensure!(
        ends.count() == HOSTS.len(),
        "not both ends are content:\n{text}"
    );
    for line in text.lines().filter(|line| line.contains(" MB/s")) {
        stage.note(&format!("FIGURES {line}"));
    }
    Ok(Outcome::Passed)
}
