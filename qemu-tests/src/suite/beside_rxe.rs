// SPDX-License-Identifier: GPL-2.0

//! The kernel's rxe beside `usb4_roce` on the same hosts, both used by programs that connect by address. Either is unloaded while the other
//! works.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::both_devices;
use super::both_devices::Device;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::soft_roce;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(240);

/// The hosts: of the server, and of its client.
const HOSTS: [&str; 2] = ["a", "b"];

/// What is waited for to see that a device works.
const ROUNDS: u32 = 3;

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 3, run).needing(Need::Speed);
    Suite {
        name: "beside-rxe",
        lab: Lab {
            prepare: both_devices::bring_up,
            ..Lab::MODULE
        },
        tests: vec![
            test("both-by-address", both),
            test("usb4_roce-unloaded", ours_unloaded),
            test("rxe-unloaded", rxe_unloaded),
        ],
    }
}

/// Programs on a device that connect and move data, which is checked, one after the other until they are told to stop.
struct Rounds<'a> {
    stage: &'a Stage<'a>,
    device: Device,
    server: Job,
    client: Job,
}

impl<'a> Rounds<'a> {
    fn start(stage: &'a Stage<'a>, device: Device) -> Result<Self> {
        let [server_host, client_host] = HOSTS;
        let address = device.address(server_host);
        let port = device.first_port();
        let options = format!("-a {address} -p {port} -V -S 8000");
        // It ends when its device is gone, and listens again when that is back.
        let server = format!("while :; do rping -s -P {options}; sleep 0.2; done");
        let (done, stop) = (file("done", device), file("stop", device));
        let failed = file("failed", device);
        let client = format!(
            "until [ -e {stop} ]; do
              if timeout 60 rping -c {options} -C 20; then echo >> {done}; else echo >> {failed}; sleep 0.2; fi
            done"
        );
        let forget = format!("rm -f {stop} && : > {done} && : > {failed}");
        stage.shell(client_host, &forget, LIMIT)?;
        let server = stage.start(server_host, &server, LIMIT * 2)?;
        let listens = format!(
            "until rdma resource show cm_id | grep -q 'LISTEN.*:{port} '; do sleep 0.1; done"
        );
        stage.shell(server_host, &listens, LIMIT)?;
        let client = stage.start(client_host, &client, LIMIT * 2)?;
        let rounds = Self {
            stage,
            device,
            server,
            client,
        };
        rounds.await_more()?;
        Ok(rounds)
    }

    /// Waits until the device has done some more.
    fn await_more(&self) -> Result<()> {
        let done = file("done", self.device);
        let script = format!(
            "due=$(($(wc -l < {done}) + {ROUNDS}))
            until [ $(wc -l < {done}) -ge $due ]; do sleep 0.1; done"
        );
        self.stage
            .shell(HOSTS[1], &script, LIMIT)
            .with_context(|| format!("{} does not work", self.device))?;
        Ok(())
    }

    /// Ends it; says how many rounds have failed.
    fn stop(self) -> Result<u32> {
        let stop = file("stop", self.device);
        self.stage
            .shell(HOSTS[1], &format!("touch {stop}"), LIMIT)?;
        self.stage.finish(&self.client, LIMIT)?;
        self.stage.kill(&self.server)?;
        self.stage.wait(&self.server, LIMIT)?;
        let failed = format!("wc -l < {}", file("failed", self.device));
        let failed = self.stage.shell(HOSTS[1], &failed, LIMIT)?;
        failed.trim().parse().context("a number of rounds")
    }

    /// Ends it. Fails if any round has failed.
    fn conclude(self) -> Result<()> {
        let device = self.device;
        let failed = self.stop()?;
        ensure!(failed == 0, "{failed} rounds have failed on {device}");
        Ok(())
    }
}

/// A file of the client that has to do with its rounds on `device`.
fn file(what: &str, device: Device) -> String {
    format!("/tmp/rounds-{what}-{device}")
}

/// Both are used at once; the address says which.
fn both(stage: &Stage<'_>) -> Result<Outcome> {
    let ours = Rounds::start(stage, Device::Usb4Roce)?;
    let rxe = Rounds::start(stage, Device::Rxe)?;
    ours.await_more()?;
    rxe.await_more()?;
    ours.conclude()?;
    rxe.conclude()?;
    Ok(Outcome::Passed)
}

/// Nothing of rxe notices.
fn ours_unloaded(stage: &Stage<'_>) -> Result<Outcome> {
    let rxe = Rounds::start(stage, Device::Rxe)?;
    for host in HOSTS {
        roce::unload(stage.instance(), host)?;
        rxe.await_more()?;
    }
    roce::start(stage.instance())?;
    rxe.await_more()?;
    rxe.conclude()?;
    both(stage)
}

/// rxe unregisters all devices of its driver when it goes, ours with them, since that has the same driver's number, and does not ask whether
/// programs use them: those end with an error. Ours is registered again, and programs that are started then work.
fn rxe_unloaded(stage: &Stage<'_>) -> Result<Outcome> {
    let ours = Rounds::start(stage, Device::Usb4Roce)?;
    let rxe = Rounds::start(stage, Device::Rxe)?;
    for host in HOSTS {
        stage.expect_line(host, "the verbs device is registered again");
        stage.shell(host, "rmmod rdma_rxe", LIMIT)?;
        roce::await_up(stage.instance())?;
        ours.await_more()?;
    }
    stage.instance().on_each(|host| {
        stage.shell(host, "modprobe rdma_rxe", LIMIT)?;
        Ok(())
    })?;
    soft_roce::make_devices(stage, &HOSTS)?;
    rxe.await_more()?;
    let failed = rxe.stop()?;
    ensure!(failed > 0, "programs went on over rxe without it");
    let failed = ours.stop()?;
    stage.note(&format!("{failed} rounds have failed on {DEVICE}"));
    both(stage)
}
