// SPDX-License-Identifier: GPL-2.0

//! Pulling the cable and plugging it in again, with nothing but the kernel's drivers.

use std::time::Duration;

use anyhow::Result;

use super::as_booted;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::kernel_tree::Kernel;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::fabric::Fabric;
use crate::hosts::shape::CPUS;
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
        fabric: Fabric::PAIR,
        kernel: Kernel::Stock,
        processor: CpuModel::Fast,
        cpus: CPUS,
        subject: Subject::Drivers,
        prepare: as_booted,
        tests: vec![Test {
            name: "peers-come-and-go",
            limit: LIMIT * TIMES,
            run: come_and_go,
        }],
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
