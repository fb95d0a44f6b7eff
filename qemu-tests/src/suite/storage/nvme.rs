// SPDX-License-Identifier: GPL-2.0

//! A disk of one host's memory, which another host has as an NVMe disk.

use anyhow::Context;
use anyhow::Result;

use super::load::CHECKED;
use super::Outcome;
use super::LIMIT;
use crate::hosts::extent::Extent;
use crate::hosts::stage::Stage;
use crate::storage::nvme::connect_command;
use crate::storage::nvme::with_disk;
use crate::storage::nvme::Content;
use crate::storage::nvme::FIND_DISK;
use crate::storage::nvme::SUBSYSTEM;
use crate::storage::Way;
use crate::storage::INITIATOR;

/// How often the initiator connects and disconnects in a test of that.
const fn rounds(extent: Extent) -> u32 {
    match extent {
        Extent::Short => 20,
        Extent::Long => 100,
    }
}

/// Megabytes that are written and read back in each way.
const MUCH: u32 = 64;

/// The same where a request takes long.
const LITTLE: u32 = 4;

/// Random and sequential, small and large, one after the other and many at a time.
pub fn verify(stage: &Stage<'_>) -> Result<Outcome> {
    verify_each_way(stage, MUCH)
}

/// The same with little data.
pub fn verify_little(stage: &Stage<'_>) -> Result<Outcome> {
    verify_each_way(stage, LITTLE)
}

fn verify_each_way(stage: &Stage<'_>, megabytes: u32) -> Result<Outcome> {
    with_disk(stage, &Way::roce(), Content::Kept, || {
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
                fio --name=check --filename=$disk --size={megabytes}m --rw={pattern} --{range}={size} --iodepth={depth} {CHECKED}"
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
    with_disk(stage, &Way::roce(), Content::Kept, || {
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
    let way = Way::roce();
    let rounds = rounds(stage.extent());
    with_disk(stage, &way, Content::Kept, || {
        let script = format!(
            "for round in $(seq {rounds}); do
              nvme disconnect --nqn={SUBSYSTEM} && {} || exit
              {FIND_DISK}
              dd if=$disk of=/dev/null bs=64k count=4 iflag=direct 2> /dev/null || exit
            done",
            connect_command(&way)
        );
        stage.shell(INITIATOR, &script, LIMIT)
    })?;
    Ok(Outcome::Passed)
}

/// Does `what` while the disk is written and checked, which has to go well.
pub fn under_load(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    /// How long it goes on, at least: longer than what is done meanwhile takes.
    const SECONDS: u32 = 60;
    with_disk(stage, &Way::roce(), Content::Kept, || {
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
