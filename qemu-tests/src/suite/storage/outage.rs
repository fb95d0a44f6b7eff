// SPDX-License-Identifier: GPL-2.0

//! One of the hosts is away for a while: it loses power, or its module is unloaded. Who uses the other's disk or directory waits, or is
//! told.

use anyhow::ensure;
use anyhow::Result;

use super::load::Load;
use super::reconnecting;
use super::Outcome;
use super::LIMIT;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::storage::nfs::with_directory;
use crate::storage::nfs::MOUNTED;
use crate::storage::nvme::close_port;
use crate::storage::nvme::connect;
use crate::storage::nvme::offer;
use crate::storage::nvme::open_port;
use crate::storage::nvme::with_disk;
use crate::storage::nvme::Content;
use crate::storage::nvme::FIND_DISK;
use crate::storage::Way;
use crate::storage::INITIATOR;
use crate::storage::TARGET;

/// The target loses power under load, and offers the disk again when it is back: what is read and written waits for it.
pub fn target_loses_power(stage: &Stage<'_>) -> Result<Outcome> {
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    let (way, content) = (Way::roce(), Content::Lasting);
    reconnecting(stage, || {
        with_disk(stage, &way, content, || {
            let load = Load::start(stage, FIND_DISK, "$disk")?;
            stage.note("the target loses power");
            stage.instance().crash(TARGET)?;
            stage.instance().start_again(TARGET)?;
            roce::start_on(stage.instance(), TARGET)?;
            offer(stage, &way, content)?;
            load.finish(stage)
        })
    })?;
    Ok(Outcome::Passed)
}

/// Rails keep the module; without rails it goes, from beneath whom it serves in the kernel.
fn unload(stage: &Stage<'_>, host: &str) -> Result<()> {
    let refused = stage.attempt(host, "rmmod usb4_roce", LIMIT)?;
    ensure!(
        !refused.status.success(),
        "the module was unloaded with its rails"
    );
    roce::unload(stage.instance(), host)
}

/// The module is unloaded beneath an initiator: its disk goes, whoever writes it is told, and it comes back when it is asked to.
pub fn initiator_unloads(stage: &Stage<'_>) -> Result<Outcome> {
    expect_disk_loss(stage);
    let way = Way::roce();
    with_disk(stage, &way, Content::Kept, || {
        let load = Load::start_until_failure(stage, FIND_DISK, "$disk")?;
        unload(stage, INITIATOR)?;
        load.await_failure(stage)?;
        stage.shell(INITIATOR, GONE, LIMIT)?;
        roce::start_on(stage.instance(), INITIATOR)?;
        connect(stage, &way)?;
        Load::start(stage, FIND_DISK, "$disk")?.finish(stage)
    })?;
    Ok(Outcome::Passed)
}

/// What the hosts may say when the disk goes.
pub fn expect_disk_loss(stage: &Stage<'_>) {
    stage.allow_line(TARGET, "nvmet: ctrl ");
    for part in [
        "nvme nvme0: ",
        "nvme0n1: I/O Cmd",
        "I/O error, dev nvme0n1",
        "Buffer I/O error on dev nvme0n1",
    ] {
        stage.allow_line(INITIATOR, part);
    }
}

/// The initiator has no disk of the target.
pub const GONE: &str = "! ls /dev/nvme*n1 2> /dev/null";

/// The module is unloaded beneath a target: when it is back and the target listens again, the initiator connects by itself.
pub fn target_unloads(stage: &Stage<'_>) -> Result<Outcome> {
    stage.allow_line(TARGET, "nvmet: ctrl ");
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    reconnecting(stage, || {
        with_disk(stage, &Way::roce(), Content::Kept, || {
            let load = Load::start(stage, FIND_DISK, "$disk")?;
            unload(stage, TARGET)?;
            roce::start_on(stage.instance(), TARGET)?;
            // Who listened at the device's address went with the device.
            close_port(stage)?;
            open_port(stage)?;
            load.finish(stage)
        })
    })?;
    Ok(Outcome::Passed)
}

/// After how many seconds a kernel tells of a thread that waits, as it is unless the kernel's configuration has less. Without rails a
/// client of NFS waits for its connection manager to have told the other host sixteen times, 4.3 seconds apart, that it leaves.
const LONG_WAIT: u32 = 120;

/// The module is unloaded beneath a client of NFS, and beneath its server: the client waits, and goes on.
pub fn nfs_hosts_unload(stage: &Stage<'_>) -> Result<Outcome> {
    const SETTING: &str = "/proc/sys/kernel/hung_task_timeout_secs";
    let before = stage.shell(INITIATOR, &format!("cat {SETTING}"), LIMIT)?;
    let set = |seconds: &str| {
        stage.shell(
            INITIATOR,
            &format!("echo {} > {SETTING}", seconds.trim()),
            LIMIT,
        )
    };
    set(&LONG_WAIT.to_string())?;
    with_directory(stage, &Way::roce(), || {
        for host in [INITIATOR, TARGET] {
            let load = Load::start(stage, "", &format!("{MOUNTED}/from-{host}"))?;
            unload(stage, host)?;
            roce::start_on(stage.instance(), host)?;
            load.finish(stage)?;
        }
        Ok(())
    })?;
    set(&before)?;
    Ok(Outcome::Passed)
}
