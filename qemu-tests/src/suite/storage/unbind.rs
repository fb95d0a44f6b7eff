// SPDX-License-Identifier: GPL-2.0

//! The initiator's USB4 controller loses its driver while a file system is mounted that is on the other host's disk.

use anyhow::Result;

use super::load::Load;
use super::outage::expect_disk_loss;
use super::outage::GONE;
use super::Outcome;
use super::LIMIT;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;
use crate::storage::nvme::connect;
use crate::storage::nvme::with_disk;
use crate::storage::nvme::Content;
use crate::storage::nvme::FIND_DISK;
use crate::storage::Way;
use crate::storage::INITIATOR;

/// Where the file system is mounted.
const MOUNTED: &str = "/run/disk";

/// Unbinds the host's controller.
const UNBIND: &str = "\
cd /sys/bus/pci/drivers/thunderbolt && for nhi in *:*; do echo $nhi > unbind || exit; done";

/// Unmounts what is there no more, and unloads all that had to do with it.
fn leave(stage: &Stage<'_>) -> Result<()> {
    let script = format!(
        "until [ -e /sys/class/infiniband/{DEVICE} ]; do sleep 0.1; done
        {GONE} || exit
        umount {MOUNTED} && modprobe -r nvme-rdma || exit
        rmdir /sys/kernel/config/usb4_roce/*/ && rmmod usb4_roce"
    );
    stage.shell(INITIATOR, &script, LIMIT)?;
    Ok(())
}

/// The disk goes with the device, and everything can be unmounted and unloaded. What was written through is there when the host has started
/// anew. (Linux 7.3's thunderbolt core does not find the other host again when a controller is bound again.)
pub fn controller_unbound(stage: &Stage<'_>) -> Result<Outcome> {
    expect_disk_loss(stage);
    for part in ["EXT4-fs", "JBD2: ", "Aborting journal on device nvme0n1"] {
        stage.allow_line(INITIATOR, part);
    }
    let way = Way::roce();
    with_disk(stage, &way, Content::Kept, || {
        let mount = format!("modprobe ext4 && mkdir -p {MOUNTED} && mount $disk {MOUNTED} || exit");
        let copy = format!(
            "{FIND_DISK}
            mkfs.ext4 -q $disk && {mount}
            cp -a /etc {MOUNTED}/ && sync"
        );
        stage.shell(INITIATOR, &copy, LIMIT)?;
        let load = Load::start_until_failure(stage, "", &format!("{MOUNTED}/check"))?;
        stage.shell(INITIATOR, UNBIND, LIMIT)?;
        load.await_failure(stage)?;
        leave(stage)?;
        stage.instance().crash(INITIATOR)?;
        stage.instance().start_again(INITIATOR)?;
        roce::start_on(stage.instance(), INITIATOR)?;
        connect(stage, &way)?;
        let compare = format!(
            "{FIND_DISK}
            {mount}
            diff -r --no-dereference /etc {MOUNTED}/etc && umount {MOUNTED} && fsck.ext4 -fn $disk"
        );
        stage.shell(INITIATOR, &compare, LIMIT)
    })?;
    Ok(Outcome::Passed)
}
