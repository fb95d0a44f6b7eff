// SPDX-License-Identifier: GPL-2.0

//! Disks and file systems of another host: NVMe over Fabrics, and NFS over RDMA. What is read back is checked.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::faults;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::addition::Addition;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::state::await_rail_loss;
use crate::storage::INITIATOR;
use crate::storage::TARGET;

pub mod debug;
mod load;
mod nfs;
mod nvme;
mod outage;
mod sleep;
pub mod stock;
mod unbind;

/// Time limit of a command, for emulated hosts on a busy machine.
const LIMIT: Duration = Duration::from_secs(1000);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(3000);

/// How long it may take until a cable's loss has shown.
const NOTICE: Duration = Duration::from_secs(60);

/// How long a cable is out: for the driver to find out, and for NVMe's own reconnect to have failed at least once.
const OUTAGE: Duration = Duration::from_secs(20);

/// Hosts that have nvme-cli, fio and NFS.
const LAB: Lab = Lab {
    subject: Subject::Programs(Addition::Storage),
    ..Lab::MODULE
};

/// The suites: with one cable, and with two.
pub fn suites() -> [Suite; 2] {
    let test = |name, run| Test::new(name, TEST_LIMIT, run).needing(Need::Speed);
    [
        Suite {
            name: "storage",
            lab: LAB,
            tests: vec![
                test("nvme-verify", nvme::verify),
                test("nvme-file-system", nvme::file_system),
                test("nvme-comes-and-goes", nvme::comes_and_goes),
                test("nvme-cable-pulled", nvme_without_cable),
                test("nvme-target-loses-power", outage::target_loses_power),
                test("nvme-initiator-unloads", outage::initiator_unloads),
                test("nvme-target-unloads", outage::target_unloads),
                test("nfs", nfs::copy),
                test("nfs-hosts-unload", outage::nfs_hosts_unload),
                test("nvme-controller-unbound", unbind::controller_unbound),
            ],
        },
        Suite {
            name: "storage-two-rails",
            lab: Lab {
                fabric: faults::LAB.fabric,
                ..LAB
            },
            tests: vec![test("nvme-one-cable-pulled", nvme_with_a_cable_less)],
        },
    ]
}

/// The only cable is pulled under load, and comes back: the initiator connects again, and no write is lost.
fn nvme_without_cable(stage: &Stage<'_>) -> Result<Outcome> {
    // Both ends say that they have lost each other.
    stage.allow_line(TARGET, "nvmet: ctrl ");
    stage.allow_line(INITIATOR, "nvme nvme0: ");
    let cable = stage.instance().topology().cables[0].name.clone();
    reconnecting(stage, || {
        nvme::under_load(stage, || {
            let mut cables = stage.instance().cables()?;
            cables.unplug(&cable)?;
            thread::sleep(OUTAGE);
            cables.plug(&cable)?;
            stage.instance().await_streams()?;
            roce::await_up(stage.instance())
        })
    })?;
    Ok(Outcome::Passed)
}

/// How often the initiator has connected again by itself since it was started.
fn reconnections(stage: &Stage<'_>) -> Result<usize> {
    let log = stage.shell(INITIATOR, "dmesg", LIMIT)?;
    Ok(log.matches("Successfully reconnected").count())
}

/// Does `what`, during which the initiator has to connect again by itself.
fn reconnecting(stage: &Stage<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = reconnections(stage)?;
    what()?;
    ensure!(
        reconnections(stage)? > before,
        "the initiator has not connected again"
    );
    Ok(())
}

/// One of two cables is pulled under load, and comes back: nobody notices.
fn nvme_with_a_cable_less(stage: &Stage<'_>) -> Result<Outcome> {
    let cable = stage.instance().topology().cables[0].name.clone();
    nvme::under_load(stage, || {
        let mut cables = stage.instance().cables()?;
        cables.unplug(&cable)?;
        await_rail_loss(stage, &[TARGET, INITIATOR], NOTICE)?;
        cables.plug(&cable)?;
        stage.instance().await_streams()?;
        roce::await_up(stage.instance())
    })?;
    let log = stage
        .shell(INITIATOR, "dmesg | grep nvme || :", LIMIT)
        .context("the log")?;
    ensure!(
        !log.contains("error") && !log.contains("Reconnecting"),
        "the initiator has noticed:\n{log}"
    );
    Ok(Outcome::Passed)
}
