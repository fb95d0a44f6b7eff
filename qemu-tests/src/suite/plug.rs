// SPDX-License-Identifier: GPL-2.0

//! Pulling the cable and plugging it in again, with nothing but the kernel's drivers.

use std::time::Duration;

use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(60);

/// How often the cable is pulled and plugged in.
const TIMES: u32 = 3;

/// Waits until no peer is there.
const AWAIT_LOSS: &str =
    "while ls -d /sys/bus/thunderbolt/devices/*-[1-9]* >/dev/null 2>&1; do sleep 0.1; done";

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "plug",
        lab: Lab::DRIVERS,
        tests: vec![Test::new("peers-come-and-go", LIMIT * TIMES, come_and_go)],
    }
}

fn come_and_go(stage: &Stage<'_>) -> Result<Outcome> {
    for _ in 0..TIMES {
        for cable in &stage.instance().topology().cables {
            stage.instance().cables()?.unplug(&cable.name)?;
        }
        for host in stage.instance().names() {
            stage.shell(&host, AWAIT_LOSS, LIMIT)?;
        }
        for cable in &stage.instance().topology().cables {
            stage.instance().cables()?.plug(&cable.name)?;
        }
        stage.instance().await_streams()?;
    }
    Ok(Outcome::Passed)
}
