// SPDX-License-Identifier: GPL-2.0

//! Verified traffic in the background, and what of it each cable carries.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;
use usb4_cable::control::CableStatus;
use usb4_cable::control::Direction;

use super::client_program::ClientProgram;
use super::client_report;
use super::programs::Ends;
use crate::hosts::stage::Stage;

/// The program which moves data and checks it.
pub const VERIFY: &str = "verbs-verify";

/// Longest run, and longest wait for its end.
const LIMIT: Duration = Duration::from_secs(600);

/// How long the server may take to listen.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Seconds that a round of the traffic may take, with whatever happens to the cables.
const ROUND_LIMIT: u32 = 120;

/// Port on which the two ends find each other.
const PORT: u16 = 7001;

/// At the client: when it comes into being, the traffic ends.
const STOP: &str = "/tmp/stop-traffic";

/// What each direction of a cable moves at least before it counts as in use. An idle rail sends a few
/// hundred bytes a second.
const IN_USE: u64 = 256 << 10;

/// Pause between two looks at the cables.
const POLL: Duration = Duration::from_millis(50);

/// A run of [`VERIFY`] between two hosts.
pub struct Traffic {
    client_host: String,
    ends: Ends,
}

impl Traffic {
    /// Starts it between the hosts `server` and `client`, with the further `options`.
    pub fn start(stage: &Stage<'_>, server: &str, client: &str, options: &str) -> Result<Self> {
        // Not by the client's own script, which may begin after the order to stop.
        stage.shell(client, &format!("rm -f {STOP}"), READY_LIMIT)?;
        let program = ClientProgram {
            name: VERIFY,
            options: &format!("--timeout {ROUND_LIMIT}"),
            port: PORT,
        };
        let program = program.between(server, &format!("--until {STOP} {options}"));
        Ok(Self {
            client_host: client.to_owned(),
            ends: program.start(stage, client, LIMIT)?,
        })
    }

    /// Ends it after the round at hand. Fails unless each byte and each completion was right.
    pub fn stop(self, stage: &Stage<'_>) -> Result<()> {
        stage.shell(&self.client_host, &format!("touch {STOP}"), READY_LIMIT)?;
        let Ends { server, client } = &self.ends;
        let client = stage.wait(client, LIMIT)?;
        if !client.status.success() {
            stage.kill(server)?;
            let server = stage.wait(server, READY_LIMIT)?;
            bail!(
                "the traffic broke off: {}{}",
                client.everything(),
                server.everything()
            );
        }
        stage.finish(server, LIMIT)?;
        let rounds = client_report::verified(stage, &client.text())?;
        stage.note(&format!("{rounds} rounds were verified"));
        Ok(())
    }
}

/// Verifies a few rounds of each kind between the hosts `server` and `client`.
pub fn verify(stage: &Stage<'_>, server: &str, client: &str, limit: Duration) -> Result<()> {
    let program = ClientProgram {
        name: VERIFY,
        options: "",
        port: PORT,
    };
    let program = program.between(server, "--iterations 2");
    client_report::verified(stage, &program.run(stage, client, limit)?)?;
    Ok(())
}

/// Waits until each direction of the cable named `cable` has carried more than an idle rail would, from
/// now on.
pub fn await_in_use(stage: &Stage<'_>, cable: &str, limit: Duration) -> Result<()> {
    await_moving(stage, cable, &[Direction::AToB, Direction::BToA], limit)
}

/// Waits until each of the `directions` of the cable named `cable` has carried more than an idle rail would, from
/// now on.
pub fn await_moving(
    stage: &Stage<'_>,
    cable: &str,
    directions: &[Direction],
    limit: Duration,
) -> Result<()> {
    let mut cables = stage.instance().cables()?;
    let moved = |status: &CableStatus| -> Vec<u64> {
        let counters = directions.iter().map(|direction| match direction {
            Direction::AToB => &status.a_to_b,
            Direction::BToA => &status.b_to_a,
        });
        counters.map(|counters| counters.bytes).collect()
    };
    let before = moved(&cables.cable(cable)?);
    let deadline = Instant::now() + limit;
    loop {
        let now = moved(&cables.cable(cable)?);
        let grown: Vec<u64> = now
            .iter()
            .zip(&before)
            .map(|(now, then)| now - then)
            .collect();
        if grown.iter().all(|bytes| *bytes >= IN_USE) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "cable {cable} is not in use after {} s: {grown:?} bytes in the directions {directions:?}",
            limit.as_secs()
        );
        thread::sleep(POLL);
    }
}
