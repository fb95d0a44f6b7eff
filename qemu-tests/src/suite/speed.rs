// SPDX-License-Identifier: GPL-2.0

//! Links of each generation: the rails come up, and the port says how fast they are.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use usb4_cable::topology::LinkSpeed;

use super::native::Need;
use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(60);

/// How fast a port is.
pub struct PortSpeed {
    /// As the verbs device's `rate` begins.
    pub verbs: &'static str,
    /// What the network interface says, in Mb/s.
    pub network: u32,
}

const SLOWEST: PortSpeed = PortSpeed {
    verbs: "20 Gb/sec (4X DDR)",
    network: 20_000,
};

/// Of two cables.
const MIDDLING: PortSpeed = PortSpeed {
    verbs: "80 Gb/sec (8X QDR)",
    network: 80_000,
};

/// All there is to see of the slowest links. The fastest are those of the other suites. Those between are like either.
pub fn suites() -> Vec<Suite> {
    let suite = |name, speed, rails, needs, port_speed: fn(&Stage<'_>) -> Result<Outcome>| Suite {
        name,
        lab: Lab {
            fabric: Fabric {
                rails,
                speed,
                ..Fabric::PAIR
            },
            ..Lab::MODULE
        },
        tests: vec![
            Test {
                needs,
                ..Test::new("port-speed", LIMIT * 4, port_speed)
            },
            Test {
                needs,
                ..Test::new("verify", LIMIT * 4, traffic)
            },
        ],
    };
    vec![
        suite("speed-20g", LinkSpeed::Gbps20, 1, None, |stage| {
            check(stage, &SLOWEST)?;
            Ok(Outcome::Passed)
        }),
        suite(
            "speed-40g",
            LinkSpeed::Gbps40,
            2,
            Some(Need::Speed),
            |stage| {
                check(stage, &MIDDLING)?;
                Ok(Outcome::Passed)
            },
        ),
    ]
}

/// Checks what both hosts say.
pub fn check(stage: &Stage<'_>, expected: &PortSpeed) -> Result<()> {
    let rate = format!("cat /sys/class/infiniband/{DEVICE}/ports/1/rate");
    let speed = format!("cat /sys/class/net/{INTERFACE}/speed");
    for host in ["a", "b"] {
        let verbs = stage.shell(host, &rate, LIMIT)?;
        ensure!(
            verbs.trim() == expected.verbs,
            "{host}: the verbs port says {:?} in place of {:?}",
            verbs.trim(),
            expected.verbs
        );
        let network = stage.shell(host, &speed, LIMIT)?;
        ensure!(
            network.trim() == expected.network.to_string(),
            "{host}: the interface says {} Mb/s in place of {}",
            network.trim(),
            expected.network
        );
    }
    Ok(())
}

fn traffic(stage: &Stage<'_>) -> Result<Outcome> {
    Traffic::start(stage, "a", "b", "--variant event-rq")?.stop(stage)?;
    Ok(Outcome::Passed)
}
