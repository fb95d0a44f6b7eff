// SPDX-License-Identifier: GPL-2.0

//! A host loses power while it is being talked to, and comes back.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::hang::Hang;
use crate::roce::state::await_port;
use crate::roce::state::PortState;
use crate::roce::traffic::Traffic;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// How long the survivor may take to notice.
const NOTICE: Duration = Duration::from_secs(60);

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 4, run);
    Suite {
        name: "crash",
        lab: Lab::MODULE,
        tests: vec![
            test("of-the-host-that-takes-the-hopids", |stage| {
                crash(stage, "b", "a")
            }),
            test("of-the-host-that-chooses-the-hopids", |stage| {
                crash(stage, "a", "b")
            }),
        ],
    }
}

/// Crashes the host `victim` while requests are in flight, and starts it again.
fn crash(stage: &Stage<'_>, victim: &str, survivor: &str) -> Result<Outcome> {
    let hang = Hang::start(stage, survivor, victim)?;
    stage.note(&format!("{victim} loses power"));
    stage.instance().crash(victim)?;
    await_port(stage, survivor, PortState::Down, NOTICE).context("the survivor does not notice")?;
    hang.await_failure_of_server(stage)?;

    stage.note(&format!("{victim} is started again"));
    stage.instance().start_again(victim)?;
    roce::start_on(stage.instance(), victim)?;
    await_port(stage, survivor, PortState::Active, NOTICE)?;
    let traffic = Traffic::start(stage, survivor, victim, "--variant event-rq")?;
    traffic.stop(stage)?;
    Ok(Outcome::Passed)
}
