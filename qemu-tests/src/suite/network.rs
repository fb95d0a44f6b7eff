// SPDX-License-Identifier: GPL-2.0

//! IP between the hosts over the kernel's `thunderbolt_net`.

use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::accelerator::CpuModel;
use crate::fabric::Fabric;
use crate::kernel_tree::Kernel;
use crate::programs;
use crate::stage::Stage;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(90);

/// Loads the driver, waits for its interface and gives it the address `10.0.0.$1`.
const UP: &str = "\
modprobe thunderbolt_net
until [ -d /sys/class/net/thunderbolt0 ]; do sleep 0.1; done
ip address add 10.0.0.$1/24 dev thunderbolt0 && ip link set thunderbolt0 up
until [ \"$(cat /sys/class/net/thunderbolt0/carrier 2>/dev/null)\" = 1 ]; do sleep 0.1; done";

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "network",
        fabric: Fabric::PAIR,
        kernel: Kernel::Stock,
        processor: CpuModel::Fast,
        subject: Subject::Drivers,
        prepare: configure,
        tests: vec![
            Test {
                name: "ping",
                limit: LIMIT,
                run: ping,
            },
            Test {
                name: "tcp",
                limit: LIMIT,
                run: tcp,
            },
        ],
    }
}

fn configure(stage: &Stage<'_>) -> Result<()> {
    // The interface has carrier once both ends are up.
    let start = |host, number: &str| {
        let script = UP.replace("$1", number);
        stage.start(host, &script, LIMIT)
    };
    for job in [start("a", "1")?, start("b", "2")?] {
        stage.finish(&job, LIMIT)?;
    }
    Ok(())
}

fn ping(stage: &Stage<'_>) -> Result<Outcome> {
    stage.shell("a", "ping -c 20 -i 0.05 -W 2 10.0.0.2", LIMIT)?;
    stage.shell("b", "ping -c 20 -i 0.05 -W 2 -s 8000 10.0.0.1", LIMIT)?;
    Ok(Outcome::Passed)
}

fn tcp(stage: &Stage<'_>) -> Result<Outcome> {
    programs::iperf(stage, "10.0.0.1", LIMIT)?;
    Ok(Outcome::Passed)
}
