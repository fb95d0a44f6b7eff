// SPDX-License-Identifier: GPL-2.0

//! IP between the hosts over the kernel's `thunderbolt_net`.

use std::time::Duration;

use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce::programs;
use crate::roce::programs::Pieces;
use crate::roce::programs::Ping;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(90);

/// Loads the driver, waits for its interface and gives it the address `10.0.0.$1`.
const UP: &str = "\
modprobe thunderbolt_net
until [ -d /sys/class/net/thunderbolt0 ]; do sleep 0.1; done
ip address replace 10.0.0.$1/24 dev thunderbolt0 && ip link set thunderbolt0 up
until [ \"$(cat /sys/class/net/thunderbolt0/carrier 2>/dev/null)\" = 1 ]; do sleep 0.1; done";

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "network",
        lab: Lab::DRIVERS,
        tests: vec![Test::new("ping", LIMIT, ping), Test::new("tcp", LIMIT, tcp)],
    }
}

/// Brings the interfaces up unless they are.
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
    configure(stage)?;
    Ping::small(20, "10.0.0.2").run(stage, "a", LIMIT)?;
    let in_pieces = Ping {
        count: 20,
        size: 8000,
        pieces: Pieces::Allowed,
        to: "10.0.0.1",
    };
    in_pieces.run(stage, "b", LIMIT)?;
    Ok(Outcome::Passed)
}

fn tcp(stage: &Stage<'_>) -> Result<Outcome> {
    configure(stage)?;
    programs::Iperf::brief("10.0.0.1").run(stage, LIMIT)?;
    Ok(Outcome::Passed)
}
