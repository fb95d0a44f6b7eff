// SPDX-License-Identifier: GPL-2.0

//! A disk of one host, which another host has as an NVMe disk.

use anyhow::Context;
use anyhow::Result;

use super::Carrier;
use super::Way;
use super::INITIATOR;
use super::LIMIT;
use super::TARGET;
use crate::hosts::stage::Stage;

/// What becomes of what is written to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It can be read back: the disk is memory.
    Kept,
    /// Nothing, and what is read is anything: the target's processor touches no data, as with a disk that has its own DMA.
    Forgotten,
}

impl Content {
    /// As the disk's settings have it.
    fn memory_backed(self) -> u8 {
        match self {
            Self::Kept => 1,
            Self::Forgotten => 0,
        }
    }
}

/// The subsystem's name.
pub const SUBSYSTEM: &str = "nqn.2026-11.usb4-roce:disk";

/// The standard port of NVMe over Fabrics.
const PORT: u16 = 4420;

/// Megabytes of the disk.
const SIZE: u32 = 128;

/// The disk's name on the target.
const DISK: &str = "lent";

/// Where its settings are.
const NULL_BLK: &str = "/sys/kernel/config/nullb/lent";

/// Where the target's settings are.
const NVMET: &str = "/sys/kernel/config/nvmet";

/// Sets `disk` to the disk that the initiator has connected to, the only one of its kind there.
pub const FIND_DISK: &str = "\
find_disk() { for disk in /dev/nvme*n1; do [ -b \"$disk\" ] && return; done; return 1; }
until find_disk; do sleep 0.1; done";

/// Has the target offer a disk.
fn offer(stage: &Stage<'_>, way: &Way, content: Content) -> Result<()> {
    let Way { carrier, address } = way;
    let memory_backed = content.memory_backed();
    let script = format!(
        "modprobe null_blk nr_devices=0 && modprobe -a nvmet nvmet-{carrier} || exit
        mkdir {NULL_BLK} && cd {NULL_BLK} || exit
        echo {memory_backed} > memory_backed && echo {SIZE} > size && echo 1 > power || exit
        cd {NVMET} && mkdir subsystems/{SUBSYSTEM} && cd subsystems/{SUBSYSTEM} || exit
        echo 1 > attr_allow_any_host && mkdir namespaces/1 && cd namespaces/1 || exit
        echo /dev/{DISK} > device_path && echo 1 > enable || exit
        mkdir {NVMET}/ports/1 && cd {NVMET}/ports/1 || exit
        echo {address} > addr_traddr && echo {carrier} > addr_trtype && echo {PORT} > addr_trsvcid &&
          echo ipv4 > addr_adrfam || exit
        ln -s {NVMET}/subsystems/{SUBSYSTEM} subsystems/"
    );
    stage.shell(TARGET, &script, LIMIT).context("the target")?;
    Ok(())
}

/// Takes the disk away.
fn withdraw(stage: &Stage<'_>, carrier: Carrier) -> Result<()> {
    let script = format!(
        "cd {NVMET} && rm ports/1/subsystems/{SUBSYSTEM} && rmdir ports/1 || exit
        echo 0 > subsystems/{SUBSYSTEM}/namespaces/1/enable
        rmdir subsystems/{SUBSYSTEM}/namespaces/1 && rmdir subsystems/{SUBSYSTEM} || exit
        echo 0 > {NULL_BLK}/power && rmdir {NULL_BLK} || exit
        modprobe -r nvmet-{carrier} null_blk"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("take the disk away")?;
    Ok(())
}

/// What the initiator connects by.
pub fn connect_command(way: &Way) -> String {
    let Way { carrier, address } = way;
    // Lost connections are tried again every two seconds, for a minute.
    format!(
        "nvme connect --transport={carrier} --traddr={address} --trsvcid={PORT} --nqn={SUBSYSTEM} \
         --reconnect-delay=2 --ctrl-loss-tmo=60 --keep-alive-tmo=5 > /dev/null"
    )
}

/// Has the initiator connect.
fn connect(stage: &Stage<'_>, way: &Way) -> Result<()> {
    let script = format!(
        "modprobe -a nvme-{} || exit
        {} && {FIND_DISK}",
        way.carrier,
        connect_command(way)
    );
    stage.shell(INITIATOR, &script, LIMIT).context("connect")?;
    Ok(())
}

fn disconnect(stage: &Stage<'_>, carrier: Carrier) -> Result<()> {
    let script = format!("nvme disconnect --nqn={SUBSYSTEM} && modprobe -r nvme-{carrier}");
    stage
        .shell(INITIATOR, &script, LIMIT)
        .context("disconnect")?;
    Ok(())
}

/// Does `what` while the initiator has the target's disk.
pub fn with_disk<T>(
    stage: &Stage<'_>,
    way: &Way,
    content: Content,
    what: impl FnOnce() -> Result<T>,
) -> Result<T> {
    offer(stage, way, content)?;
    connect(stage, way)?;
    let result = what()?;
    disconnect(stage, way.carrier)?;
    withdraw(stage, way.carrier)?;
    Ok(result)
}
