// SPDX-License-Identifier: GPL-2.0

//! Processes that mean harm: they say anything to the device, write over what they share with the kernel, and take all
//! there is. Whoever means well goes on, and afterwards everything is as it was. On the debug kernel also: memory that
//! cannot be had, one allocation after the other.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::debug;
use super::life::still_works;
use super::life::RAILS;
use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::extent::Extent;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// How long random attacks last, each, in a run of everything.
const SHORT: Duration = Duration::from_secs(15);

/// How long they last when there is time.
const LONG: Duration = Duration::from_secs(400);

/// Seconds for the allocations of one call of a process that sets something up.
const PER_CALL: u32 = 30;

/// Seconds for the allocations of a rail.
const PER_BIG_CALL: u32 = 600;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(900);

/// Bytes of memory that may be missing afterwards: caches, and what lives as long as the module.
const SLACK: u64 = 64 << 20;

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "hostile",
        tests: vec![
            test("random-arguments", random_arguments),
            test("queues-written-over", queues_written_over),
            test("strangers-take-no-place", strangers),
            test("as-many-objects-as-there-can-be", exhaustion),
            test("somebody-holds-nearly-all-there-is", hoarder),
        ],
        lab: Lab::MODULE,
    }
}

/// The attacks by chance, with the checkers watching.
pub fn on_debug() -> Suite {
    let tests = suite().tests;
    Suite {
        name: "hostile-debug",
        tests: debug::chosen(tests, &["random-arguments", "queues-written-over"]),
        lab: debug::LAB,
    }
}

/// What needs the debug kernel, in the lab of the debug suite.
pub fn failing_allocations() -> Suite {
    Suite {
        name: "failing-allocations",
        tests: vec![
            test("of-verbs", failing_verbs),
            test("of-rails", failing_rails),
        ],
        lab: debug::LAB,
    }
}

fn test(name: &'static str, run: fn(&Stage<'_>) -> Result<Outcome>) -> Test {
    Test::new(name, LIMIT * 3, run)
}

/// How long a random attack lasts.
fn spell(stage: &Stage<'_>) -> Duration {
    match stage.extent() {
        Extent::Short => SHORT,
        Extent::Long => LONG,
    }
}

/// Runs a program that reports in JSON.
fn report(stage: &Stage<'_>, host: &str, script: &str) -> Result<Value> {
    let output = stage.shell(host, script, LIMIT)?;
    serde_json::from_str(&output).context("the report")
}

/// Anything is said to the device, beside traffic that is verified.
fn random_arguments(stage: &Stage<'_>) -> Result<Outcome> {
    // Children write to descriptors of their parents.
    stage.allow_line(
        "a",
        "changed security contexts after opening file descriptor",
    );
    for (seed, user) in [(1, ""), (2, "--nobody")] {
        let traffic = Traffic::start(stage, "a", "b", "--late-receives 0")?;
        let seconds = spell(stage).as_secs();
        let script = format!(
            "/lab/share/uverbs-fuzz --device {DEVICE} --seed {seed} --seconds {seconds} {user} --json"
        );
        let report = report(stage, "a", &script)?;
        for what in ["accepted", "refused"] {
            ensure!(report[what].as_u64() > Some(0), "{what}: nothing: {report}");
        }
        traffic.stop(stage)?;
    }
    still_works(stage)?;
    Ok(Outcome::Passed)
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

/// Whoever has queue pairs led to hosts that do not exist keeps nobody from being heard: neither those that come later,
/// nor those that others want to speak to.
fn strangers(stage: &Stage<'_>) -> Result<Outcome> {
    /// More than there is room for.
    const HOSTS: u32 = 100;
    /// Room for those of one user.
    const MOST: u32 = 12;
    for host in ["a", "b"] {
        stage.shell(host, roce::UNLOAD, LIMIT)?;
        roce::load(stage.instance(), host)?;
    }
    let local = roce::address("a");
    let script = format!(
        "ip link set {INTERFACE} up && ip address replace {local}/24 dev {INTERFACE} || exit
        for host in $(seq $((255 - {HOSTS})) 254); do
          ip neighbour replace ${{local%.*}}.$host lladdr 02:00:00:00:01:$(printf %02x $host) nud permanent dev {INTERFACE} || exit
        done
        until ({}) 2> /dev/null; do sleep 0.1; done",
        roce::FIND_GID,
    );
    stage.shell("a", &format!("local={local}\n{script}"), LIMIT)?;
    let job = hoard(stage, &format!("--strangers {HOSTS}"))?;
    let accepted: u32 = stage
        .shell("a", &format!("cat {FULL}"), LIMIT)?
        .trim()
        .parse()?;
    ensure!(
        (1..=MOST).contains(&accepted),
        "{accepted} of {HOSTS} strangers were accepted"
    );
    roce::use_rails(stage.instance(), 1)?;
    still_works(stage)?;
    stage.kill(&job)?;
    stage.wait(&job, LIMIT)?;
    stage.shell(
        "a",
        &format!("ip neighbour flush nud permanent dev {INTERFACE}"),
        LIMIT,
    )?;
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

/// Where somebody says on host a that it has all it gets.
const FULL: &str = "/tmp/full";

/// Has somebody without rights on host a take what `options` say, and keep it.
fn hoard(stage: &Stage<'_>, options: &str) -> Result<Job> {
    let local = roce::address("a");
    let script = format!(
        "sleep 1000 | /lab/share/verbs-exhaust --device {DEVICE} --local {local} --nobody --hold {options} > {FULL}; \
         echo over >> {FULL}"
    );
    stage.shell("a", &format!("rm -f {FULL}"), LIMIT)?;
    let job = stage.start("a", &script, LIMIT)?;
    let full = format!("until grep -qs . {FULL}; do sleep 0.2; done; ! grep over {FULL}");
    stage.shell("a", &full, LIMIT)?;
    Ok(job)
}

/// A process without rights has as many objects as it gets, and others get theirs.
fn hoarder(stage: &Stage<'_>) -> Result<Outcome> {
    /// A few less than there may be.
    const MOST: u32 = 4000;
    for kind in ["qp", "cq", "srq", "mr", "ah"] {
        let job = hoard(stage, &format!("--kind {kind} --most {MOST}"))?;
        still_works(stage).with_context(|| format!("while somebody has every {kind}"))?;
        stage.kill(&job)?;
        stage.wait(&job, LIMIT)?;
    }
    Ok(Outcome::Passed)
}

/// Makes the kernel let any allocation fail, silently, where it is told which.
const MAY_FAIL: &str = "\
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
for kind in failslab fail_page_alloc; do
  cd /sys/kernel/debug/$kind || exit
  echo N > ignore-gfp-wait && echo 0 > verbose && echo -1 > times || exit
done
[ -e min-order ] && echo 0 > min-order && echo N > ignore-gfp-highmem";

/// Allocations did fail, and calls because of them.
fn check_faults(report: &Value) -> Result<()> {
    let steps = report["steps"].as_array().context("no steps")?;
    for step in steps {
        let none = step["allocations"].as_u64() == Some(0);
        ensure!(
            none || step["failed"].as_u64() > Some(0),
            "no allocation failed: {step}"
        );
    }
    ensure!(
        steps.iter().any(|step| step["refused"].as_u64() > Some(0)),
        "no call failed: {report}"
    );
    Ok(())
}

/// Allocations of verbs calls fail.
fn failing_verbs(stage: &Stage<'_>) -> Result<Outcome> {
    let local = roce::address("a");
    let script = format!(
        "{MAY_FAIL}\n/lab/share/verbs-faults --device {DEVICE} --local {local} --seconds {PER_CALL} --json"
    );
    check_faults(&report(stage, "a", &script)?)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// A rail that is taken away leaves its stream to the one whose making fails.
fn failing_rails(stage: &Stage<'_>) -> Result<Outcome> {
    // The path of the stream is looked up, too.
    stage.allow_line("a", "is no USB4 stream device");
    let script = format!(
        "{MAY_FAIL}
        rail=$(echo {RAILS}/*/)
        stream=$(cat $rail/stream) && rmdir $rail && \
        /lab/share/verbs-faults --stream $stream --seconds {PER_BIG_CALL} --json"
    );
    check_faults(&report(stage, "a", &script)?)?;
    roce::use_rails(stage.instance(), 1)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}
