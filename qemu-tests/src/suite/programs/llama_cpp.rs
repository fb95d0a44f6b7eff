// SPDX-License-Identifier: GPL-2.0

//! llama.cpp's RPC: a language model whose layers are on the other host, which goes by RDMA where both ends have a device for their addresses.

use anyhow::ensure;
use anyhow::Result;

use super::sent::by_rdma;
use super::Outcome;
use super::HOSTS;
use super::LIMIT;
use super::PORT;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;

/// Bytes of the model's layers, which the host that asks sends first, at the least.
const MODEL_BYTES: u64 = 90_000_000;

/// Bytes of what the other host says to that, at the least.
const ANSWER_BYTES: u64 = 6_000_000;

/// Runs `llama-check`.
pub fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let [server, client] = HOSTS;
    let endpoint = format!("{}:{PORT}", roce::address(server));
    let program = "/lab/share/llama-check";
    let serve = format!("exec 2>&1 {program} serve {endpoint}");
    let job = stage.serve(server, &serve, Ready::Port(PORT), LIMIT)?;
    let text = by_rdma(stage, [ANSWER_BYTES, MODEL_BYTES], || {
        stage.shell(
            client,
            &format!("exec 2>&1 {program} ask {endpoint}"),
            LIMIT,
        )
    });
    // It serves for ever.
    stage.kill(&job)?;
    let served = stage.wait(&job, LIMIT)?.text();
    let text = text?;
    for (host, said) in [(client, &text), (server, &served)] {
        for part in ["RDMA probed: dev=usb4_roce0", "RDMA activated"] {
            ensure!(said.contains(part), "{host} does not say {part:?}:\n{said}");
        }
    }
    for part in ["tokens the same", "llama-check: ok"] {
        ensure!(text.contains(part), "nobody says {part:?}:\n{text}");
    }
    for line in text.lines().filter(|line| line.contains("tokens/s")) {
        stage.note(&format!("FIGURES {line}"));
    }
    Ok(Outcome::Passed)
}
