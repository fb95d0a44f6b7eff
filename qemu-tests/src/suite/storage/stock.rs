// SPDX-License-Identifier: GPL-2.0

//! Disks of another host where it takes the distribution's kernel: SRP, and hosts that sleep.

use anyhow::Result;

use super::load::CHECKED;
use super::sleep::hosts_sleep;
use super::sleep::initiator_hibernates;
use super::Outcome;
use super::Suite;
use super::Test;
use super::LAB;
use super::LIMIT;
use super::TEST_LIMIT;
use crate::hosts::stage::Stage;
use crate::storage::srp;
use crate::storage::INITIATOR;
use crate::storage::TARGET;
use crate::suite::Need;

/// The suite.
pub fn suite() -> Suite {
    let test = |name, need, run| Test::new(name, TEST_LIMIT, run).needing(need);
    Suite {
        name: "storage-stock",
        lab: LAB,
        tests: vec![
            test("srp", Need::StockKernel, srp_verify),
            test("nvme-hosts-sleep", Need::Sleep, hosts_sleep),
            test(
                "nvme-initiator-hibernates",
                Need::Sleep,
                initiator_hibernates,
            ),
        ],
    }
}

/// SRP's initiator registers memory for each request, and takes that back for the next.
fn srp_verify(stage: &Stage<'_>) -> Result<Outcome> {
    for part in ["db_root: cannot open", "MODE SENSE: unimplemented page"] {
        stage.allow_line(TARGET, part);
    }
    // When it has disconnected.
    stage.allow_line(INITIATOR, "ib_srp: connection closed");
    srp::with_disk(stage, || {
        let script = format!(
            "{}
            fio --name=check --filename=$disk --size=4m --rw=randwrite --bsrange=512-256k --iodepth=8 {CHECKED} || exit
            fio --name=check --filename=$disk --size=8m --rw=write --bs=1m --iodepth=4 {CHECKED}",
            srp::FIND_DISK
        );
        stage.shell(INITIATOR, &script, LIMIT)
    })?;
    Ok(Outcome::Passed)
}
