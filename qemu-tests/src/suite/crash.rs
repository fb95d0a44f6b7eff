// SPDX-License-Identifier: GPL-2.0

//! A host loses power while it is being talked to, and comes back.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// How long the survivor may take to notice.
const NOTICE: Duration = Duration::from_secs(60);

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test {
        name,
        limit: LIMIT * 4,
        run,
    };
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
    const PORT: u16 = 7002;
    const WORDS: &str = "/tmp/words";
    let address = format!("{}:{PORT}", roce::address(survivor));
    let program = format!(
        "exec 2> {WORDS}; exec /lab/share/verbs-errors --device {DEVICE} --json --hang 100 --timeout 60"
    );
    let listen = format!("{program} --listen {address}");
    let server = stage.serve(survivor, &listen, Ready::Port(PORT), LIMIT)?;
    stage.start(victim, &format!("{program} --connect {address}"), LIMIT)?;
    let in_flight = format!("until grep -q 'in flight' {WORDS}; do sleep 0.1; done");
    stage.shell(survivor, &in_flight, LIMIT)?;

    stage.note(&format!("{victim} loses power"));
    stage.instance().crash(victim)?;
    let state = |wanted| {
        let path = format!("/sys/class/infiniband/{DEVICE}/ports/1/state");
        let script = format!("until grep -q {wanted} {path}; do sleep 0.1; done");
        stage.shell(survivor, &script, NOTICE)
    };
    state("DOWN").context("the survivor does not notice")?;
    let report = stage.finish(&server, LIMIT)?;
    let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
    ensure!(
        report["hang"]["ended_with"] == "RETRY_EXC_ERR",
        "the loss of the peer was noticed otherwise: {report}"
    );

    stage.note(&format!("{victim} is started again"));
    stage.instance().start_again(victim)?;
    roce::start_on(stage.instance(), victim)?;
    state("ACTIVE")?;
    let traffic = Traffic::start(stage, survivor, victim, "--variant event-rq")?;
    traffic.stop(stage)?;
    Ok(Outcome::Passed)
}
