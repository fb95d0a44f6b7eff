// SPDX-License-Identifier: GPL-2.0

//! Disks of another host where it takes the distribution's kernel: SRP, and hosts that sleep.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::load::Load;
use super::load::CHECKED;
use super::Outcome;
use super::Suite;
use super::Test;
use super::LAB;
use super::LIMIT;
use super::TEST_LIMIT;
use crate::hosts::sleep::Sleep;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::storage::nvme;
use crate::storage::nvme::Content;
use crate::storage::srp;
use crate::storage::Way;
use crate::storage::INITIATOR;
use crate::storage::TARGET;
use crate::suite::Need;

/// How long a host sleeps: longer than the other one of an NVMe connection has patience with it.
const NAP: Duration = Duration::from_secs(15);

/// Where the file system is mounted.
const MOUNTED: &str = "/run/disk";

/// The suite.
pub fn suite() -> Suite {
    let test = |name, need, run| Test::new(name, TEST_LIMIT, run).needing(need);
    Suite {
        name: "storage-stock",
        lab: LAB,
        tests: vec![
            test("srp", Need::StockKernel, srp_verify),
            test("nvme-hosts-sleep", Need::Sleep, nvme_hosts_sleep),
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

/// Each of the hosts sleeps while a file of the other's disk is written; it goes on when the host is awake.
fn nvme_hosts_sleep(stage: &Stage<'_>) -> Result<Outcome> {
    stage.allow_line(TARGET, "nvmet: ctrl ");
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    nvme::with_disk(stage, &Way::roce(), Content::Kept, || {
        let script = format!(
            "{}
            modprobe ext4 && mkfs.ext4 -q $disk && mkdir -p {MOUNTED} && mount $disk {MOUNTED}",
            nvme::FIND_DISK
        );
        stage.shell(INITIATOR, &script, LIMIT)?;
        for host in [INITIATOR, TARGET] {
            let load = Load::start(stage, "", &format!("{MOUNTED}/while-{host}-sleeps"))?;
            let sleep = Sleep::begin(stage, host)?;
            sleep.await_asleep()?;
            thread::sleep(NAP);
            sleep.end(stage)?;
            roce::await_up(stage.instance())?;
            load.finish(stage)
                .with_context(|| format!("{host} slept"))?;
        }
        stage.shell(INITIATOR, &format!("umount {MOUNTED}"), LIMIT)
    })?;
    Ok(Outcome::Passed)
}
