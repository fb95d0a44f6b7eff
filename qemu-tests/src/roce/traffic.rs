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

use crate::hosts::stage::Job;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::client_report;
use crate::roce::DEVICE;

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

/// A run of `verbs-verify` between two hosts.
pub struct Traffic {
    server: Job,
    client_host: String,
    client: Job,
}

impl Traffic {
    /// Starts it between the hosts `server` and `client`, with the further `options`.
    pub fn start(stage: &Stage<'_>, server: &str, client: &str, options: &str) -> Result<Self> {
        let address = format!("{}:{PORT}", roce::address(server));
        let program = format!(
            "exec /lab/share/verbs-verify --device {DEVICE} --json --timeout {ROUND_LIMIT}"
        );
        let listen = format!("{program} --listen {address}");
        let server_job = stage.serve(server, &listen, Ready::Port(PORT), LIMIT)?;
        // Not by the client's own script, which may begin after the order to stop.
        stage.shell(client, &format!("rm -f {STOP}"), READY_LIMIT)?;
        let script = format!("{program} --until {STOP} {options} --connect {address}");
        Ok(Self {
            server: server_job,
            client_host: client.to_owned(),
            client: stage.start(client, &script, LIMIT)?,
        })
    }

    /// Ends it after the round at hand. Fails unless each byte and each completion was right.
    pub fn stop(self, stage: &Stage<'_>) -> Result<()> {
        stage.shell(&self.client_host, &format!("touch {STOP}"), READY_LIMIT)?;
        let client = stage.wait(&self.client, LIMIT)?;
        if !client.status.success() {
            stage.kill(&self.server)?;
            let server = stage.wait(&self.server, READY_LIMIT)?;
            bail!(
                "the traffic broke off: {}{}",
                client.everything(),
                server.everything()
            );
        }
        stage.finish(&self.server, LIMIT)?;
        let rounds = client_report::verified(stage, &client.text())?;
        stage.note(&format!("{rounds} rounds were verified"));
        Ok(())
    }
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
