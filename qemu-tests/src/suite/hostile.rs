// SPDX-License-Identifier: GPL-2.0

//! Processes that mean harm: they write over what they share with the kernel, and take all there is. Whoever means well goes
//! on, and afterwards everything is as it was.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::life;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::extent::Extent;
use crate::programs::pingpong;
use crate::roce;
use crate::roce::DEVICE;
use crate::stage::Stage;
use crate::traffic::Traffic;

/// How long a random attack lasts in a run of everything.
const SHORT: Duration = Duration::from_secs(20);

/// How long it lasts when there is time.
const LONG: Duration = Duration::from_secs(300);

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(900);

/// Bytes of memory that may be missing afterwards: caches, and what lives as long as the module.
const SLACK: u64 = 64 << 20;

/// The suite, in the lab of the life suite.
pub fn suite() -> Suite {
    Suite {
        name: "hostile",
        tests: vec![
            test("queues-written-over", queues_written_over),
            test("as-many-objects-as-there-can-be", exhaustion),
            test("somebody-holds-all-there-is", hoarder),
        ],
        ..life::suite()
    }
}

fn test(name: &'static str, run: fn(&Stage<'_>) -> Result<Outcome>) -> Test {
    Test {
        name,
        limit: LIMIT * 3,
        run,
    }
}

/// How long a random attack lasts.
fn spell(stage: &Stage<'_>) -> Duration {
    match stage.extent() {
        Extent::Short => SHORT,
        Extent::Long => LONG,
    }
}

fn still_works(stage: &Stage<'_>) -> Result<()> {
    const PORT: u16 = 18800;
    pingpong("-n 100 -c", PORT).run(stage, "b", LIMIT)?;
    Ok(())
}

/// Runs a program that reports in JSON.
fn report(stage: &Stage<'_>, host: &str, script: &str) -> Result<Value> {
    let output = stage.shell(host, script, LIMIT)?;
    serde_json::from_str(&output).context("the report")
}

/// All mapped queues are written over while they are in use, beside traffic that is verified.
fn queues_written_over(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = Traffic::start(stage, "a", "b", "--late-receives 0")?;
    let seconds = spell(stage).as_secs();
    let jobs = [("a", "b"), ("b", "a")].map(|(host, peer)| {
        let (local, peer) = (roce::address(host), roce::address(peer));
        let script = format!(
            "/lab/share/verbs-stress --device {DEVICE} --local {local} --peer {peer} --seed 3 \
             --seconds {seconds} --processes 2 --scribble --json"
        );
        stage.start(host, &script, LIMIT)
    });
    for job in jobs {
        let report: Value = serde_json::from_str(&stage.finish(&job?, LIMIT)?)?;
        ensure!(
            report["by_kind"]["Scribble"][0].as_u64() > Some(0),
            "nothing was written over: {report}"
        );
    }
    traffic.stop(stage)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

fn available_memory(stage: &Stage<'_>, host: &str) -> Result<u64> {
    const KIB: u64 = 1 << 10;
    let script = "sync; echo 3 > /proc/sys/vm/drop_caches; sed -n 's/^MemAvailable: *\\([0-9]*\\).*/\\1/p' /proc/meminfo";
    let text = stage.shell(host, script, LIMIT)?;
    Ok(text.trim().parse::<u64>().context("MemAvailable")? * KIB)
}

/// As many objects of each kind as there may be, or thousands, twice.
fn exhaustion(stage: &Stage<'_>) -> Result<Outcome> {
    let before = available_memory(stage, "a")?;
    let local = roce::address("a");
    let script =
        format!("/lab/share/verbs-exhaust --device {DEVICE} --local {local} --most 6000 --json");
    let report = report(stage, "a", &script)?;
    stage.note(&format!("{report}"));
    let after = available_memory(stage, "a")?;
    ensure!(
        after + SLACK > before,
        "of {before} bytes of memory {after} are left"
    );
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// A process without rights has thousands of objects, and others get theirs.
fn hoarder(stage: &Stage<'_>) -> Result<Outcome> {
    const FULL: &str = "/tmp/full";
    let local = roce::address("a");
    for kind in ["qp", "cq", "srq", "mr", "ah"] {
        let script = format!(
            "sleep 1000 | /lab/share/verbs-exhaust --device {DEVICE} --local {local} \
             --nobody --kind {kind} --most 4000 --hold > {FULL}"
        );
        stage.shell("a", &format!("rm -f {FULL}"), LIMIT)?;
        let job = stage.start("a", &script, LIMIT)?;
        let full = format!("until grep -qs full {FULL}; do sleep 0.2; done");
        stage.shell("a", &full, LIMIT)?;
        still_works(stage).with_context(|| format!("while somebody has every {kind}"))?;
        stage.kill(&job)?;
        stage.wait(&job, LIMIT)?;
    }
    Ok(Outcome::Passed)
}
