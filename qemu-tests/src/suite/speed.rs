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

/// All there is to see of the slowest links. The fastest are those of the other suites. Those between are like either.
pub fn suites() -> Vec<Suite> {
    let suite = |name, speed, rails, port_speed, traffic| Suite {
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
            Test::new("port-speed", LIMIT * 4, port_speed),
            Test::new("verify", LIMIT * 4, traffic),
        ],
    };
    let mut between = suite(
        "speed-40g",
        LinkSpeed::Gbps40,
        2,
        |stage| {
            let expected = PortSpeed {
                verbs: "80 Gb/sec (8X QDR)",
                network: 80_000,
            };
            check(stage, &expected)?;
            Ok(Outcome::Passed)
        },
        traffic,
    );
    for test in &mut between.tests {
        test.needs = Some(Need::Speed);
    }
    vec![
        suite(
            "speed-20g",
            LinkSpeed::Gbps20,
            1,
            |stage| {
                let expected = PortSpeed {
                    verbs: "20 Gb/sec (4X DDR)",
                    network: 20_000,
                };
                check(stage, &expected)?;
                Ok(Outcome::Passed)
            },
            traffic,
        ),
        between,
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
