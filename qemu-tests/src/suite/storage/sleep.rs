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

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A file of an ext4, which has a thread in the kernel, for its journal, that is to be frozen as well.
    File,
    /// The disk itself, where the kernel has no such file system.
    Disk,
}

/// Does `what` while the initiator has the target's disk. The hosts may lose each other meanwhile.
fn with_disk(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    stage.allow_line(TARGET, "nvmet: ctrl ");
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    nvme::with_disk(stage, &Way::roce(), Content::Kept, what)
}

/// The same while it has mounted a file system there.
fn with_mount(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    with_disk(stage, || {
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

/// `host` sleeps while the load that `begin` begins is under way; it goes on when the host is awake.
fn sleep_under_load(
    stage: &Stage<'_>,
    host: &str,
    begin: impl FnOnce() -> Result<Load>,
) -> Result<()> {
    let load = begin()?;
    let sleep = Sleep::begin(stage, host)?;
    sleep.await_asleep()?;
    thread::sleep(NAP);
    sleep.end(stage)?;
    roce::await_up(stage.instance())?;
    load.finish(stage).with_context(|| format!("{host} slept"))
}

/// Each of the hosts sleeps while the other's disk is written.
pub fn hosts_sleep(stage: &Stage<'_>, written: Written) -> Result<Outcome> {
    let hosts = [INITIATOR, TARGET];
    match written {
        Written::File => with_mount(stage, || {
            hosts.iter().try_for_each(|host| {
                let file = format!("{MOUNTED}/while-{host}-sleeps");
                sleep_under_load(stage, host, || Load::start(stage, "", &file))
            })
        })?,
        Written::Disk => with_disk(stage, || {
            hosts.iter().try_for_each(|host| {
                sleep_under_load(stage, host, || Load::start(stage, FIND_DISK, "$disk"))
            })
        })?,
    }
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
