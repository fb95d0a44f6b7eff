// SPDX-License-Identifier: GPL-2.0

//! A disk of one host's memory, which another host has as an NVMe disk.

use std::fmt;

use anyhow::Context;
use anyhow::Result;

use super::Outcome;
use super::INITIATOR;
use super::LIMIT;
use super::TARGET;
use crate::hosts::stage::Stage;
use crate::roce::address;

/// How the disk gets to the other host.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// NVMe over RDMA.
    Rdma,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rdma => "rdma",
        })
    }
}

/// The subsystem's name.
const SUBSYSTEM: &str = "nqn.2026-11.usb4-roce:disk";

/// The standard port of NVMe over Fabrics.
const PORT: u16 = 4420;

/// Megabytes of the disk.
const SIZE: u32 = 128;

/// How often the initiator connects and disconnects in a test of that.
const ROUNDS: u32 = 20;

/// What is written, and read back: each block has a checksum, and tells where it belongs.
const CHECKED: &str = "--ioengine=libaio --direct=1 --verify=crc32c-intel --verify_fatal=1 --group_reporting --minimal";

/// The disk's name on the target.
const DISK: &str = "lent";

/// Where its settings are.
const NULL_BLK: &str = "/sys/kernel/config/nullb/lent";

/// Where the target's settings are.
const NVMET: &str = "/sys/kernel/config/nvmet";

/// Sets `disk` to the disk that the initiator has connected to, the only one of its kind there.
const FIND_DISK: &str = "\
find_disk() { for disk in /dev/nvme*n1; do [ -b \"$disk\" ] && return; done; return 1; }
until find_disk; do sleep 0.1; done";

/// Has the target offer a disk.
fn offer(stage: &Stage<'_>, transport: Transport) -> Result<()> {
    let address = address(TARGET);
    let script = format!(
        "modprobe null_blk nr_devices=0 && modprobe -a nvmet nvmet-{transport} || exit
        mkdir {NULL_BLK} && cd {NULL_BLK} || exit
        echo 1 > memory_backed && echo {SIZE} > size && echo 1 > power || exit
        cd {NVMET} && mkdir subsystems/{SUBSYSTEM} && cd subsystems/{SUBSYSTEM} || exit
        echo 1 > attr_allow_any_host && mkdir namespaces/1 && cd namespaces/1 || exit
        echo /dev/{DISK} > device_path && echo 1 > enable || exit
        mkdir {NVMET}/ports/1 && cd {NVMET}/ports/1 || exit
        echo {address} > addr_traddr && echo {transport} > addr_trtype && echo {PORT} > addr_trsvcid &&
          echo ipv4 > addr_adrfam || exit
        ln -s {NVMET}/subsystems/{SUBSYSTEM} subsystems/"
    );
    stage.shell(TARGET, &script, LIMIT).context("the target")?;
    Ok(())
}

/// Takes the disk away.
fn withdraw(stage: &Stage<'_>, transport: Transport) -> Result<()> {
    let script = format!(
        "cd {NVMET} && rm ports/1/subsystems/{SUBSYSTEM} && rmdir ports/1 || exit
        echo 0 > subsystems/{SUBSYSTEM}/namespaces/1/enable
        rmdir subsystems/{SUBSYSTEM}/namespaces/1 && rmdir subsystems/{SUBSYSTEM} || exit
        echo 0 > {NULL_BLK}/power && rmdir {NULL_BLK} || exit
        modprobe -r nvmet-{transport} null_blk"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("take the disk away")?;
    Ok(())
}

fn connect_command(transport: Transport) -> String {
    let address = address(TARGET);
    // Lost connections are tried again every two seconds, for a minute.
    format!(
        "nvme connect --transport={transport} --traddr={address} --trsvcid={PORT} --nqn={SUBSYSTEM} \
         --reconnect-delay=2 --ctrl-loss-tmo=60 --keep-alive-tmo=5 > /dev/null"
    )
}

/// Has the initiator connect.
fn connect(stage: &Stage<'_>, transport: Transport) -> Result<()> {
    let script = format!(
        "modprobe -a nvme-{transport} || exit
        {} && {FIND_DISK}",
        connect_command(transport)
    );
    stage.shell(INITIATOR, &script, LIMIT).context("connect")?;
    Ok(())
}

fn disconnect(stage: &Stage<'_>, transport: Transport) -> Result<()> {
    let script = format!("nvme disconnect --nqn={SUBSYSTEM} && modprobe -r nvme-{transport}");
    stage
        .shell(INITIATOR, &script, LIMIT)
        .context("disconnect")?;
    Ok(())
}

/// Does `what` while the initiator has the target's disk.
fn with_disk<T>(
    stage: &Stage<'_>,
    transport: Transport,
    what: impl FnOnce() -> Result<T>,
) -> Result<T> {
    offer(stage, transport)?;
    connect(stage, transport)?;
    let result = what()?;
    disconnect(stage, transport)?;
    withdraw(stage, transport)?;
    Ok(result)
}

/// Random and sequential, small and large, one after the other and many at a time.
pub fn verify(stage: &Stage<'_>, transport: Transport) -> Result<Outcome> {
    with_disk(stage, transport, || {
        for (pattern, size, depth) in [
            ("randwrite", "4k", 1),
            ("randwrite", "4k", 64),
            ("write", "64k", 8),
            ("write", "1m", 4),
            ("randwrite", "512-128k", 16),
        ] {
            let range = if size.contains('-') { "bsrange" } else { "bs" };
            let script = format!(
                "{FIND_DISK}
                fio --name=check --filename=$disk --size=64m --rw={pattern} --{range}={size} --iodepth={depth} {CHECKED}"
            );
            stage
                .shell(INITIATOR, &script, LIMIT)
                .with_context(|| format!("{pattern} of {size}, {depth} at a time"))?;
        }
        Ok(())
    })?;
    Ok(Outcome::Passed)
}

/// A file system on it, whose files are all there when it is mounted again.
pub fn file_system(stage: &Stage<'_>) -> Result<Outcome> {
    let transport = Transport::Rdma;
    with_disk(stage, transport, || {
        let script = format!(
            "{FIND_DISK}
            modprobe ext4
            mkfs.ext4 -q $disk && mkdir -p /run/disk && mount $disk /run/disk || exit
            cp -a /usr/share/doc /etc /run/disk/ || exit
            umount /run/disk && echo 3 > /proc/sys/vm/drop_caches && mount $disk /run/disk || exit
            diff -r --no-dereference /etc /run/disk/etc && diff -r --no-dereference /usr/share/doc /run/disk/doc || exit
            umount /run/disk && fsck.ext4 -fn $disk"
        );
        stage.shell(INITIATOR, &script, LIMIT)
    })?;
    Ok(Outcome::Passed)
}

/// The initiator connects and disconnects, again and again.
pub fn comes_and_goes(stage: &Stage<'_>) -> Result<Outcome> {
    let transport = Transport::Rdma;
    with_disk(stage, transport, || {
        let script = format!(
            "for round in $(seq {ROUNDS}); do
              nvme disconnect --nqn={SUBSYSTEM} && {} || exit
              {FIND_DISK}
              dd if=$disk of=/dev/null bs=64k count=4 iflag=direct 2> /dev/null || exit
            done",
            connect_command(transport)
        );
        stage.shell(INITIATOR, &script, LIMIT)
    })?;
    Ok(Outcome::Passed)
}

/// Does `what` while the disk is written and checked, which has to go well.
pub fn under_load(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    /// How long it goes on, at least: longer than what is done meanwhile takes.
    const SECONDS: u32 = 60;
    let transport = Transport::Rdma;
    with_disk(stage, transport, || {
        let script = format!(
            "{FIND_DISK}
            exec fio --name=check --filename=$disk --size=64m --rw=randwrite --bs=16k --iodepth=16 --time_based \
              --runtime={SECONDS} {CHECKED}"
        );
        let load = stage.start(INITIATOR, &script, LIMIT)?;
        what()?;
        stage.finish(&load, LIMIT).context("the load")?;
        Ok(())
    })
}
