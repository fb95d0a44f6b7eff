// SPDX-License-Identifier: GPL-2.0

//! What the other suites do to the module, on the debug kernel: with lockdep, KASAN and kmemleak watching.
//! Everything takes many times longer there, so this is less of it.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use usb4_cable::fault::Faults;

use super::faults;
use super::verbs;
use super::verbs::Path;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::fabric::Fabric;
use crate::kernel_tree::Kernel;
use crate::roce;
use crate::stage::Stage;
use crate::traffic;
use crate::traffic::Traffic;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(120);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(300);

/// How long bad weather lasts.
const SPELL: Duration = Duration::from_secs(10);

/// How often a cable is pulled.
const PULLS: u32 = 3;

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test {
        name,
        limit: TEST_LIMIT,
        run,
    };
    Suite {
        name: "checked",
        fabric: Fabric {
            rails: 2,
            ..Fabric::PAIR
        },
        kernel: Kernel::Debug,
        subject: Subject::Module,
        prepare: roce::prepare,
        tests: vec![
            test("ping", verbs::ping),
            test("verify", |stage| {
                verbs::client_program(stage, Path::Cable, "verbs-verify", "--iterations 1")?;
                Ok(Outcome::Passed)
            }),
            test("verify-loopback", |stage| {
                verbs::client_program(stage, Path::Loopback, "verbs-verify", "--iterations 1")?;
                Ok(Outcome::Passed)
            }),
            test("errors", verbs::errors),
            test("bad-weather", bad_weather),
            test("cable-pulled", |stage| faults::pulled(stage, PULLS)),
            test("cables-out-for-ever", faults::long_outage),
            test("unload-and-load-again", reload),
        ],
    }
}

fn bad_weather(stage: &Stage<'_>) -> Result<Outcome> {
    let mut cables = stage.instance().cables()?;
    faults::set_weather(&mut cables, &faults::storm())?;
    let traffic = Traffic::start(stage, "a", "b", "--variant event-srq")?;
    thread::sleep(SPELL);
    traffic.stop(stage)?;
    faults::set_weather(&mut cables, &Faults::default())?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

fn reload(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        stage.shell(host, roce::UNLOAD, LIMIT)?;
    }
    roce::start(stage.instance())?;
    let traffic = Traffic::start(stage, "a", "b", "--variant poll-rq")?;
    traffic::await_in_use(stage, "c0", LIMIT)?;
    traffic.stop(stage)?;
    Ok(Outcome::Passed)
}
