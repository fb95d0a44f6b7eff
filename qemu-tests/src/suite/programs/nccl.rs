// SPDX-License-Identifier: GPL-2.0

//! NCCL's IB transport, in host memory. Its collectives need GPUs, and are not run.

use anyhow::ensure;
use anyhow::Result;

use super::exports;
use super::run as run_pair;
use super::sent::by_rdma;
use super::Outcome;
use super::HOSTS;
use super::PORT;
use crate::hosts::stage::Stage;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Bytes that `nccl-ib` moves each way, at the least.
const BYTES: u64 = 600_000_000;

/// Runs `nccl-ib`.
pub fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let settings = format!("NCCL_IB_HCA={DEVICE}\nNCCL_SOCKET_IFNAME={INTERFACE}\nNCCL_DEBUG=INFO");
    let command = format!("/lab/share/nccl-ib {PORT}");
    let text = by_rdma(stage, [BYTES; 2], || {
        run_pair(stage, &exports(&settings), &command, &command)
    })?;
    let ends = text.lines().filter(|line| line.ends_with(": ok")).count();
    ensure!(ends == HOSTS.len(), "{ends} ends are content:\n{text}");
    let using = format!("NET/IB : Using [0]{DEVICE}:1/RoCE");
    for line in text.lines().filter(|line| line.contains(" MB/s ")) {
        stage.note(&format!("FIGURES {line}"));
    }
    ensure!(
        text.contains(&using),
        "NCCL does not say {using:?}:\n{text}"
    );
    Ok(Outcome::Passed)
}
