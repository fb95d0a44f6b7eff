// SPDX-License-Identifier: GPL-2.0

//! Public test programs over `usb4_roce`, and over rxe beside it on the same hosts, with a verdict for each test.
//!
//! What may fail or be skipped, and why, is in `qemu-tests/conformance`, whose README says how to read and to change it.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::both_devices;
use super::both_devices::Device;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::pyverbs::NAME as PYVERBS;
use crate::hosts::soft_roce;
use crate::hosts::stage::Stage;
use comparison::Comparison;
use contract::Contract;

mod both_ends;
mod comparison;
mod contract;
mod finding;
mod perftest;
mod pingpong;
mod pyverbs;
mod rdma_cm;

/// Time limit of all that one of the tests does, on both devices. On native hosts it takes minutes.
const LIMIT: Duration = Duration::from_secs(7200);

/// Time limit of a step of the preparation.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// Has the hosts find what of Python their root lacks.
const INSTALL: &str = "cp --recursive --symbolic-link /lab/share/$1/usr/. /usr/";

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT, run).needing(Need::Speed);
    Suite {
        name: "conformance",
        lab: Lab {
            subject: Subject::Conformance,
            prepare,
            ..Lab::MODULE
        },
        tests: vec![
            test("pingpong", |s| compare(s, "pingpong", pingpong::run)),
            test("perftest", |s| compare(s, "perftest", perftest::run)),
            test("rdma_cm", |s| compare(s, "rdma_cm", rdma_cm::run)),
            test("pyverbs", |s| compare(s, "pyverbs", pyverbs::run)),
            test("pyverbs-newest", |s| {
                compare(s, "pyverbs-newest", pyverbs::run_newest)
            }),
        ],
    }
}

/// Brings up both devices on both hosts.
fn prepare(stage: &Stage<'_>) -> Result<()> {
    both_devices::bring_up(stage)?;
    stage.instance().on_each(|host| {
        stage.shell(host, &format!("set -- {PYVERBS}\n{INSTALL}"), STEP_LIMIT)?;
        Ok(())
    })
}

/// Has `run` try each test of the programs named `name` on both devices, shows how they ended, and holds that against the contract.
fn compare(
    stage: &Stage<'_>,
    name: &str,
    run: fn(&Stage<'_>, Device, &mut Comparison) -> Result<()>,
) -> Result<Outcome> {
    let contract = Contract::of_checkout(name)?;
    for host in stage.instance().names() {
        // It tells at that level of what its users do wrong, which is what many of the tests are about.
        stage.allow_line(&host, &format!("{}: ", soft_roce::DEVICE));
        // rxe_completer warns of a request that failed without a reason, on a machine with much to do; its row of the table has failed.
        stage.allow_warning(&host, soft_roce::COMPLETER);
    }
    let mut comparison = Comparison::default();
    for device in Device::ALL {
        run(stage, device, &mut comparison).with_context(|| format!("{name} on {device}"))?;
    }
    println!("{comparison}");
    let tables = stage.keep("md", &comparison.markdown(name))?;
    stage.keep("json", &comparison.json()?)?;
    let anew = stage.keep("contract", &contract.renewed(&comparison))?;
    println!("tables: {}", tables.display());
    let complaints = contract.complaints(&comparison);
    ensure!(
        complaints.is_empty(),
        "{}\nthe contract as this run would have it: {}",
        complaints.join("\n"),
        anew.display()
    );
    Ok(match comparison.has_hung() {
        // What hung may still be there.
        true => Outcome::PassedAndSpent,
        false => Outcome::Passed,
    })
}
