// SPDX-License-Identifier: GPL-2.0

//! rdma-core's pyverbs tests within one host, each in a process of its own.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::comparison::Comparison;
use super::finding::Finding;
use crate::building::newest_pyverbs;
use crate::building::pyverbs;
use crate::hosts::stage::Stage;
use crate::roce::FIND_GID;
use crate::suite::both_devices::Device;

/// Time limit of all of them.
const LIMIT: Duration = Duration::from_secs(3600);

/// Seconds that each may take: the slowest one takes ten on rxe.
const TEST_LIMIT: u32 = 60;

/// Where they run.
const HOST: &str = "a";

/// What the hosts are provided with.
const SHARE: &str = "/lab/share";

/// What runs the tests one by one, in the share.
const RUNNER: &str = "each_pyverbs_test.py";

/// What the runner says of a test.
#[derive(Deserialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    finding: Finding,
}

/// Enters a root in the share, `$1`, as far as it takes to use the host's devices as root: there the share is at [`SHARE_INSIDE`]. The
/// rest of the words are a program.
const ENTER: &str = "\
root=$1
shift
for directory in dev proc sys tmp; do mount --rbind /$directory $root/$directory; done
mount --bind /lab/share $root/mnt
exec chroot $root \"$@\"";

/// The share in such a root.
const SHARE_INSIDE: &str = "/mnt";

/// Python with pyverbs, and its tests.
struct Edition {
    /// What runs Python.
    python: String,
    /// The share as Python sees it.
    share: &'static str,
    /// The directory of the tests.
    tests: String,
}

/// Runs those of the hosts' release on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let edition = Edition {
        python: "python3".to_owned(),
        share: SHARE,
        tests: format!("{SHARE}/{}/tests", pyverbs::NAME),
    };
    edition.run(stage, device, comparison)
}

/// Runs the newest ones on `device`.
pub fn run_newest(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let root = format!("{SHARE}/{}", newest_pyverbs::NAME);
    let edition = Edition {
        python: format!("unshare --mount --propagation private sh -ec '{ENTER}' sh {root} python3"),
        share: SHARE_INSIDE,
        tests: newest_pyverbs::TESTS.to_owned(),
    };
    edition.run(stage, device, comparison)
}

impl Edition {
    fn run(&self, stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
        // A crash is a verdict like others, though the kernel tells of it.
        stage.allow_line(HOST, "python3");
        let verbs_name = device.verbs_name();
        let Self {
            python,
            share,
            tests,
        } = self;
        let script = format!(
            "device={verbs_name}\n{FIND_GID}\n\
            exec {python} {share}/{RUNNER} --device $device --gid $gid --limit {TEST_LIMIT} {tests}"
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
}
