// SPDX-License-Identifier: GPL-2.0

//! A disk of one host, which another host has as a SCSI disk by SRP (SCSI RDMA Protocol).

use anyhow::Context;
use anyhow::Result;

use super::INITIATOR;
use super::LIMIT;
use super::TARGET;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;

/// The port of rdma_cm which the target listens at. There is no standard one.
const PORT: u16 = 5555;

/// Pages of the disk.
const PAGES: u32 = 4096;

/// Where the targets of the kernel are configured.
const TARGETS: &str = "/sys/kernel/config/target";

/// The disk there.
const DISK: &str = "core/rd_mcp_0/lent";

/// Sets `disk` to the disk, once the initiator has it.
pub const FIND_DISK: &str = "\
find_disk() { for block in /sys/class/scsi_host/host*/device/target*/*/block/*; do
  [ -e $block ] && disk=/dev/${block##*/} && [ -b $disk ] && return; done; return 1; }
until find_disk; do sleep 0.1; done";

/// The device's first GID as a number.
fn gid(stage: &Stage<'_>, host: &str) -> Result<String> {
    let script = format!("tr -d ':\\n' < /sys/class/infiniband/{DEVICE}/ports/1/gids/0");
    stage.shell(host, &script, LIMIT)
}

/// The name of the target's port, which is that GID, with its directory twice: as a port, and as the group that the port is.
fn port_directory(stage: &Stage<'_>) -> Result<String> {
    let gid = gid(stage, TARGET)?;
    Ok(format!("{TARGETS}/srpt/0x{gid}/0x{gid}"))
}

/// Has the target offer a disk in memory, to the initiator alone.
fn offer(stage: &Stage<'_>) -> Result<()> {
    let port = port_directory(stage)?;
    // The name of an initiator ends as its GID does, by which its device is known.
    let initiator = format!("{:0>32}", &gid(stage, INITIATOR)?[16..]);
    let script = format!(
        "modprobe -a target_core_mod ib_srpt && cd {TARGETS} || exit
        mkdir -p {DISK} && echo rd_pages={PAGES} > {DISK}/control && echo 1 > {DISK}/enable || exit
        mkdir srpt && echo {PORT} > srpt/discovery_auth/rdma_cm_port && mkdir -p {port} && cd {port} || exit
        mkdir lun/lun_0 && ln -s {TARGETS}/{DISK} lun/lun_0/ || exit
        mkdir acls/0x{initiator} && mkdir acls/0x{initiator}/lun_0 || exit
        ln -s {port}/lun/lun_0 acls/0x{initiator}/lun_0/ && echo 1 > enable"
    );
    stage.shell(TARGET, &script, LIMIT).context("the target")?;
    Ok(())
}

/// Takes the disk away.
fn withdraw(stage: &Stage<'_>) -> Result<()> {
    let port = port_directory(stage)?;
    let script = format!(
        "cd {port} && echo 0 > enable && rm acls/*/lun_0/lun_0 && rmdir acls/*/lun_0 && rmdir acls/* || exit
        rm lun/lun_0/lent && rmdir lun/lun_0 && cd {TARGETS} && rmdir {port} $(dirname {port}) srpt || exit
        rmdir {DISK} $(dirname {DISK}) && modprobe -r ib_srpt"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("take the disk away")?;
    Ok(())
}

/// Has the initiator connect.
fn connect(stage: &Stage<'_>) -> Result<()> {
    let guid = format!("tr -d ':\\n' < /sys/class/infiniband/{DEVICE}/node_guid");
    let guid = stage.shell(TARGET, &guid, LIMIT)?;
    let address = roce::address(TARGET);
    let script = format!(
        "modprobe -a ib_srp sd_mod || exit
        echo id_ext={guid},ioc_guid={guid},dest={address}:{PORT} > /sys/class/infiniband_srp/srp-{DEVICE}-1/add_target || exit
        {FIND_DISK}"
    );
    stage.shell(INITIATOR, &script, LIMIT).context("connect")?;
    Ok(())
}

fn disconnect(stage: &Stage<'_>) -> Result<()> {
    let script = "\
        for port in /sys/class/srp_remote_ports/*; do echo 1 > $port/delete || exit; done
        until modprobe -r ib_srp; do sleep 0.5; done";
    stage
        .shell(INITIATOR, script, LIMIT)
        .context("disconnect")?;
    Ok(())
}

/// Does `what` while the initiator has the target's disk.
pub fn with_disk<T>(stage: &Stage<'_>, what: impl FnOnce() -> Result<T>) -> Result<T> {
    offer(stage)?;
    connect(stage)?;
    let result = what()?;
    disconnect(stage)?;
    withdraw(stage)?;
    Ok(result)
}
