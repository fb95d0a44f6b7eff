// SPDX-License-Identifier: GPL-2.0

//! Hosts that sleep, or begin to hibernate, while a file system is mounted that is on the other host's disk.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::load::Load;
use super::Outcome;
use super::LIMIT;
use crate::hosts::sleep::rehearse;
use crate::hosts::sleep::Sleep;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::storage::nvme;
use crate::storage::nvme::Content;
use crate::storage::nvme::FIND_DISK;
use crate::storage::Way;
use crate::storage::INITIATOR;
use crate::storage::TARGET;

/// How long a host sleeps: longer than the other one of an NVMe connection has patience with it.
const NAP: Duration = Duration::from_secs(15);

/// Where the file system is mounted.
const MOUNTED: &str = "/run/disk";

/// Does `what` while the initiator has mounted a file system on the target's disk. The hosts may lose each other meanwhile.
fn with_mount(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    stage.allow_line(TARGET, "nvmet: ctrl ");
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    nvme::with_disk(stage, &Way::roce(), Content::Kept, || {
        let script = format!(
            "{FIND_DISK}
            modprobe ext4 && mkfs.ext4 -q $disk && mkdir -p {MOUNTED} && mount $disk {MOUNTED}"
        );
        stage.shell(INITIATOR, &script, LIMIT)?;
        what()?;
        stage.shell(INITIATOR, &format!("umount {MOUNTED}"), LIMIT)?;
        Ok(())
    })
}

/// `host` sleeps while a file of the disk is written, which goes on when it is awake.
fn sleep_under_load(stage: &Stage<'_>, host: &str) -> Result<()> {
    let load = Load::start(stage, "", &format!("{MOUNTED}/while-{host}-sleeps"))?;
    let sleep = Sleep::begin(stage, host)?;
    sleep.await_asleep()?;
    thread::sleep(NAP);
    sleep.end(stage)?;
    roce::await_up(stage.instance())?;
    load.finish(stage).with_context(|| format!("{host} slept"))
}

/// Each of the hosts sleeps while the other's disk is written.
pub fn hosts_sleep(stage: &Stage<'_>) -> Result<Outcome> {
    with_mount(stage, || {
        [INITIATOR, TARGET]
            .iter()
            .try_for_each(|host| sleep_under_load(stage, host))
    })?;
    Ok(Outcome::Passed)
}

/// Writes to a file of the disk, until it is told to stop, and has the file system's journal be written every second: while memory is counted,
/// too, which takes longer.
const KEEP_JOURNAL_BUSY: &str = "\
mount -o remount,commit=1 $mounted || exit
until [ -e /run/stop-writing ]; do echo $((count += 1)) > $mounted/count; done
rm /run/stop-writing";

/// The initiator begins to hibernate while files of the other's disk are written: who waits for that comes to the freezer.
pub fn initiator_hibernates(stage: &Stage<'_>) -> Result<Outcome> {
    with_mount(stage, || {
        let load = Load::start(stage, "", &format!("{MOUNTED}/while-memory-is-saved"))?;
        let script = format!("mounted={MOUNTED} count=0\n{KEEP_JOURNAL_BUSY}");
        let writer = stage.start(INITIATOR, &script, LIMIT)?;
        rehearse(stage, INITIATOR, "freezer", "disk")?;
        stage.shell(INITIATOR, "touch /run/stop-writing", LIMIT)?;
        stage.finish(&writer, LIMIT)?;
        load.finish(stage)
    })?;
    Ok(Outcome::Passed)
}
