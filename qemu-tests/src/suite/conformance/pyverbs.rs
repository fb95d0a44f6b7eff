// SPDX-License-Identifier: GPL-2.0

//! rdma-core's pyverbs tests within one host, each in a process of its own.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::comparison::Comparison;
use super::device::Device;
use super::finding::Finding;
use crate::building::pyverbs::NAME;
use crate::hosts::stage::Stage;
use crate::roce::FIND_GID;

/// Time limit of all of them.
const LIMIT: Duration = Duration::from_secs(3600);

/// Seconds that each may take: the slowest one takes ten on rxe.
const TEST_LIMIT: u32 = 60;

/// Where they run.
const HOST: &str = "a";

/// What the runner says of a test.
#[derive(Deserialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    finding: Finding,
}

/// Runs them on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    // A crash is a verdict like others, though the kernel tells of it.
    stage.allow_line(HOST, "python3");
    let verbs_name = device.verbs_name();
    let script = format!(
        "device={verbs_name}\n{FIND_GID}\n\
        exec python3 /lab/share/each_pyverbs_test.py --device $device --gid $gid --limit {TEST_LIMIT} /lab/share/{NAME}/tests"
    );
    let report = stage.shell(HOST, &script, LIMIT)?;
    for line in report.lines() {
        let line: Line =
            serde_json::from_str(line).with_context(|| format!("the line {line:?}"))?;
        comparison.add(device, &line.name, line.finding);
    }
    ensure!(!report.is_empty(), "no test has run");
    Ok(())
}
