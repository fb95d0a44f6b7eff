// SPDX-License-Identifier: GPL-2.0

//! Races: several processes of several threads on hosts of several CPUs, all for the same objects, while processes are
//! killed, rails come and go, and the module is unloaded as soon as nobody uses it. What they found or broke is in the
//! kernels' logs; afterwards everything works, and nothing is left.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::debug;
use super::faults;
use super::life::queue_pairs;
use super::life::still_works;
use super::life::RAILS;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::extent::Extent;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::state::await_rail;
use crate::roce::state::RailState;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// How long the races last, each, in a run of everything.
const SHORT: Duration = Duration::from_secs(20);

/// How long they last when there is time.
const LONG: Duration = Duration::from_secs(1500);

/// How much longer than it should a run may take: a host may have no rail, and a machine no time.
const GRACE: Duration = Duration::from_secs(300);

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(240);

/// The suite, in the lab of the faults suite: two rails.
pub fn suite() -> Suite {
    Suite {
        name: "stress",
        tests: vec![
            test("races", races),
            test("races-while-rails-come-and-go", rails_come_and_go),
            test("unload-after-the-last-close", unload),
        ],
        lab: faults::LAB,
    }
}

/// The same with the checkers watching.
pub fn on_debug() -> Suite {
    debug::watched("stress-debug", suite())
}

fn test(name: &'static str, run: fn(&Stage<'_>) -> Result<Outcome>) -> Test {
    Test::new(name, LONG + GRACE * 3, run)
}

/// How long a run lasts.
fn duration(stage: &Stage<'_>) -> Duration {
    match stage.extent() {
        Extent::Short => SHORT,
        Extent::Long => LONG,
    }
}

/// A run at both hosts.
struct Races {
    jobs: Vec<Job>,
    time: Duration,
}

impl Races {
    fn start(stage: &Stage<'_>, seed: u32, time: Duration) -> Result<Self> {
        let jobs = [("a", "b"), ("b", "a")].map(|(host, peer)| {
            let script = command(host, peer, seed, time);
            stage.start(host, &script, time + GRACE)
        });
        Ok(Self {
            jobs: jobs.into_iter().collect::<Result<_>>()?,
            time,
        })
    }

    fn finish(self, stage: &Stage<'_>) -> Result<()> {
        let mut moved = 0;
        for job in &self.jobs {
            let report = report(&stage.finish(job, self.time + GRACE)?)?;
            let number = |name: &str| report[name].as_u64().unwrap_or(0);
            ensure!(
                number("heard") > 0,
                "the other host was not heard of: {report}"
            );
            moved += number("completions") - number("failed_completions");
        }
        stage.note(&format!("{moved} completions were successes"));
        ensure!(moved > 0, "nothing was transferred");
        Ok(())
    }
}

/// What a run has to say.
fn report(text: &str) -> Result<Value> {
    let report: Value = serde_json::from_str(text).context("the report")?;
    ensure!(
        report["operations"].as_u64() > Some(0),
        "nothing was done: {report}"
    );
    Ok(report)
}

/// The program on `host`.
fn command(host: &str, peer: &str, seed: u32, time: Duration) -> String {
    let (local, peer) = (roce::address(host), roce::address(peer));
    let seconds = time.as_secs();
    format!("/lab/share/verbs-stress --device {DEVICE} --local {local} --peer {peer} --seed {seed} --seconds {seconds} --kill-every 0.5 --strangers --json")
}

/// Nothing is left of the processes, and hosts reach each other.
fn as_before(stage: &Stage<'_>) -> Result<()> {
    roce::await_up(stage.instance())?;
    for host in ["a", "b"] {
        let carrier = format!("grep -qx 1 /sys/class/net/{INTERFACE}/carrier");
        stage
            .shell(host, &carrier, LIMIT)
            .context("the interface's carrier, with all rails up")?;
        let left = queue_pairs(stage, host)?;
        ensure!(left == 0, "{host}: {left} queue pairs are left");
    }
    still_works(stage)
}

fn races(stage: &Stage<'_>) -> Result<Outcome> {
    Races::start(stage, 1, duration(stage))?.finish(stage)?;
    as_before(stage)?;
    Ok(Outcome::Passed)
}

/// The first rail of each host is taken away and made again, and both cables are pulled, together and by themselves.
fn rails_come_and_go(stage: &Stage<'_>) -> Result<Outcome> {
    const PAUSE: Duration = Duration::from_secs(2);
    let races = Races::start(stage, 2, duration(stage))?;
    let end = Instant::now() + races.time;
    let mut cables = stage.instance().cables()?;
    let mut turn = 0;
    while Instant::now() < end {
        let pulled: &[&str] = match turn % 3 {
            0 => &["c0", "c1"],
            1 => &["c0"],
            _ => &["c1"],
        };
        for cable in pulled {
            cables.unplug(cable)?;
        }
        thread::sleep(PAUSE);
        for cable in pulled {
            cables.plug(cable)?;
        }
        let host = ["a", "b"][turn % 2];
        await_rail(stage, host, RailState::Up, LIMIT)?;
        thread::sleep(PAUSE);
        let again = format!(
            "cd {RAILS} && set -- */ && service=$(cat $1/service) && stream=$(cat $1/stream) && rmdir $1 && \
             mkdir $1 && echo $service > $1/service && echo $stream > $1/stream"
        );
        stage.shell(host, &again, LIMIT)?;
        turn += 1;
    }
    races.finish(stage)?;
    stage.instance().await_streams()?;
    as_before(stage)?;
    Ok(Outcome::Passed)
}

/// The module goes while the last work that processes have left is being done: over a cable, and within a host.
fn unload(stage: &Stage<'_>) -> Result<Outcome> {
    // On the debug kernel, where only long versions run, it takes seconds until anything is done at all.
    let (times, brief) = match stage.extent() {
        Extent::Short => (1, Duration::from_secs(3)),
        Extent::Long => (20, Duration::from_secs(10)),
    };
    let hosts = [("a", "b"), ("b", "a")];
    for time in 0..times {
        let jobs = hosts.map(|(host, peer)| {
            let run = command(host, peer, 100 + time, brief);
            stage.start(host, &format!("{run} || exit\n{}", roce::UNLOAD), LIMIT)
        });
        for job in jobs {
            report(&stage.finish(&job?, LIMIT)?)?;
        }
        // Alone: c is not there.
        for host in ["a", "b"] {
            let local = roce::address(host);
            roce::load(stage.instance(), host)?;
            let script = format!(
                "ip link set {INTERFACE} up && ip address replace {local}/24 dev {INTERFACE} || exit
                until ({gid}) 2> /dev/null; do sleep 0.1; done
                {run} || exit
                rmmod usb4_roce",
                gid = roce::FIND_GID,
                run = command(host, "c", 200 + time, brief),
            );
            report(&stage.shell(host, &script, LIMIT)?)?;
        }
        roce::start(stage.instance())?;
    }
    as_before(stage)?;
    Ok(Outcome::Passed)
}
