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
    /// It can be read back after the target has lost power, if it was written through: the disk is a file of the lab's machine.
    Lasting,
}

impl Content {
    /// Where the target has the disk.
    fn path(self) -> &'static str {
        match self {
            Self::Kept | Self::Forgotten => DISK,
            Self::Lasting => FILE,
        }
    }

    /// Whether the target reads and writes it by its page cache, as the namespace's setting has it. Files of the lab's machine
    /// cannot be had without.
    fn is_buffered(self) -> u8 {
        match self {
            Self::Kept | Self::Forgotten => 0,
            Self::Lasting => 1,
        }
    }

    /// A script that makes the disk, or finds the one that lasts.
    fn make(self) -> String {
        let null_blk = |memory_backed: u8| {
            format!(
                "modprobe null_blk nr_devices=0 && mkdir {NULL_BLK} && cd {NULL_BLK} &&
                echo {memory_backed} > memory_backed && echo {SIZE} > size && echo 1 > power || exit"
            )
        };
        match self {
            Self::Kept => null_blk(1),
            Self::Forgotten => null_blk(0),
            Self::Lasting => format!("truncate -s {SIZE}M {FILE} || exit"),
        }
    }

    /// A script that takes it away.
    fn unmake(self) -> String {
        match self {
            Self::Kept | Self::Forgotten => format!(
                "echo 0 > {NULL_BLK}/power && rmdir {NULL_BLK} && modprobe -r null_blk || exit"
            ),
            Self::Lasting => format!("rm {FILE} || exit"),
        }
    }
}

/// The subsystem's name.
pub const SUBSYSTEM: &str = "nqn.2026-11.usb4-roce:disk";

/// Who the disk is, by which an initiator knows it again.
const IDENTITY: &str = "6f1c3a52-0f5e-4f43-9d2b-7a4d3a1b5c01";

/// The standard port of NVMe over Fabrics.
const PORT: u16 = 4420;

/// Megabytes of the disk.
const SIZE: u32 = 128;

/// The disk on the target, if it is memory.
const DISK: &str = "/dev/lent";

/// The disk on the target, if it is a file.
const FILE: &str = "/lab/share/lent";

/// Where its settings are.
const NULL_BLK: &str = "/sys/kernel/config/nullb/lent";

/// Where the target's settings are.
const NVMET: &str = "/sys/kernel/config/nvmet";

/// Sets `disk` to the disk that the initiator has connected to, the only one of its kind there.
pub const FIND_DISK: &str = "\
find_disk() { for disk in /dev/nvme*n1; do [ -b \"$disk\" ] && return; done; return 1; }
until find_disk; do sleep 0.1; done";

/// Has the target offer a disk.
pub fn offer(stage: &Stage<'_>, way: &Way, content: Content) -> Result<()> {
    let Way { carrier, address } = way;
    let (make, path, buffered) = (content.make(), content.path(), content.is_buffered());
    let script = format!(
        "modprobe -a nvmet nvmet-{carrier} || exit
        {make}
        cd {NVMET} && mkdir subsystems/{SUBSYSTEM} && cd subsystems/{SUBSYSTEM} || exit
        echo 1 > attr_allow_any_host && mkdir namespaces/1 && cd namespaces/1 || exit
        echo {path} > device_path && echo {buffered} > buffered_io && echo {IDENTITY} > device_uuid && echo 1 > enable || exit
        mkdir {NVMET}/ports/1 && cd {NVMET}/ports/1 || exit
        echo {address} > addr_traddr && echo {carrier} > addr_trtype && echo {PORT} > addr_trsvcid &&
          echo ipv4 > addr_adrfam || exit"
    );
    stage.shell(TARGET, &script, LIMIT).context("the target")?;
    open_port(stage)
}

/// Has the target listen for initiators.
pub fn open_port(stage: &Stage<'_>) -> Result<()> {
    let script = format!("ln -s {NVMET}/subsystems/{SUBSYSTEM} {NVMET}/ports/1/subsystems/");
    stage.shell(TARGET, &script, LIMIT).context("listen")?;
    Ok(())
}

/// Has the target listen no more, and forget those that it serves.
pub fn close_port(stage: &Stage<'_>) -> Result<()> {
    let script = format!("rm {NVMET}/ports/1/subsystems/{SUBSYSTEM}");
    stage.shell(TARGET, &script, LIMIT).context("stop")?;
    Ok(())
}

/// Takes the disk away.
fn withdraw(stage: &Stage<'_>, carrier: Carrier, content: Content) -> Result<()> {
    close_port(stage)?;
    let unmake = content.unmake();
    let script = format!(
        "cd {NVMET} && rmdir ports/1 || exit
        echo 0 > subsystems/{SUBSYSTEM}/namespaces/1/enable
        rmdir subsystems/{SUBSYSTEM}/namespaces/1 && rmdir subsystems/{SUBSYSTEM} || exit
        {unmake}
        modprobe -r nvmet-{carrier}"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("take the disk away")?;
    Ok(())
}

/// What the initiator connects by.
pub fn connect_command(way: &Way) -> String {
    let Way { carrier, address } = way;
    // Lost connections are tried again every two seconds, for longer than a host takes to start.
    format!(
        "nvme connect --transport={carrier} --traddr={address} --trsvcid={PORT} --nqn={SUBSYSTEM} \
         --reconnect-delay=2 --ctrl-loss-tmo=400 --keep-alive-tmo=5 > /dev/null"
    )
}

/// Has the initiator connect.
pub fn connect(stage: &Stage<'_>, way: &Way) -> Result<()> {
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
    withdraw(stage, way.carrier, content)?;
    Ok(result)
}
