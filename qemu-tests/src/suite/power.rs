// SPDX-License-Identifier: GPL-2.0

//! Hosts that go to sleep while data moves that is verified, and wake again.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use usb4_cable::control::LinkState;

use super::debug;
use super::native::Need;
use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::extent::Extent;
use crate::hosts::sleep::hibernates;
use crate::hosts::sleep::rehearse;
use crate::hosts::sleep::Sleep;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::state::await_port;
use crate::roce::state::await_rail;
use crate::roce::state::PortState;
use crate::roce::state::RailState;
use crate::roce::traffic;
use crate::roce::traffic::Traffic;

mod hibernation;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(120);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(600);

/// How long it may take until an event has shown: that a host sleeps, or its return up to the first data.
const NOTICE: Duration = Duration::from_secs(90);

/// How often the hosts sleep in turn.
const fn cycles(extent: Extent) -> usize {
    match extent {
        Extent::Short => 4,
        Extent::Long => 20,
    }
}

/// The cable.
const CABLE: &str = "c0";

/// The suite, in the lab of the life suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run).needing(Need::Sleep);
    Suite {
        name: "power",
        tests: vec![
            test("attempts-to-sleep-that-fail", failed_attempts),
            test(
                "hibernation-that-freezes-devices",
                hibernation::freezes_devices,
            ),
            test("one-host-sleeps", one_sleeps),
            test("both-sleep-and-the-first-wakes-first", |stage| {
                both_sleep(stage, ["a", "b"])
            }),
            test("both-sleep-and-the-first-wakes-last", |stage| {
                both_sleep(stage, ["b", "a"])
            }),
            test("cable-pulled-in-sleep", pulled_in_sleep),
            test("cable-plugged-in-sleep", plugged_in_sleep),
            test("cable-pulled-on-the-way-to-sleep", pulled_on_the_way),
            test("peer-loses-power-in-sleep", peer_crashes),
            test("sleep-in-turn", sleep_in_turn),
        ],
        lab: Lab::MODULE,
    }
}

/// The same with the checkers watching.
pub fn on_debug() -> Suite {
    debug::watched("power-debug", suite())
}

/// Traffic, of which some has arrived.
fn traffic(stage: &Stage<'_>) -> Result<Traffic> {
    let traffic = Traffic::start(stage, "a", "b", "--variant event-srq")?;
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    Ok(traffic)
}

/// Checks that everything has come through, and that all is as it was.
fn conclude(stage: &Stage<'_>, traffic: Traffic) -> Result<Outcome> {
    traffic.stop(stage)?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

/// Sends a host to sleep, and waits until it does.
fn put_to_sleep(stage: &Stage<'_>, host: &str) -> Result<Sleep> {
    let sleep = Sleep::begin(stage, host)?;
    sleep.await_asleep()?;
    Ok(sleep)
}

/// The kernel goes part of the way to sleep, or to hibernation, and turns back. Where it would hand over to the firmware, devices
/// sleep as in S3, and but one processor is online.
fn failed_attempts(stage: &Stage<'_>) -> Result<Outcome> {
    let hibernates = hibernates(stage, "a")?;
    let traffic = traffic(stage)?;
    for (level, state) in [
        ("freezer", "freeze"),
        ("devices", "freeze"),
        ("platform", "freeze"),
        ("devices", "mem"),
        ("core", "mem"),
        ("freezer", "disk"),
    ] {
        if state == "disk" && !hibernates {
            stage.skip("hibernation", "this kernel cannot hibernate");
            continue;
        }
        rehearse(stage, "a", level, state)?;
        traffic::await_in_use(stage, CABLE, NOTICE)
            .with_context(|| format!("after the attempt {level} of {state}"))?;
    }
    conclude(stage, traffic)
}

fn one_sleeps(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    for (host, peer) in [("a", "b"), ("b", "a")] {
        let sleep = put_to_sleep(stage, host)?;
        await_port(stage, peer, PortState::Down, NOTICE)?;
        sleep.end(stage)?;
        traffic::await_in_use(stage, CABLE, NOTICE).with_context(|| format!("{host} woke"))?;
    }
    conclude(stage, traffic)
}

/// Host `a` falls asleep first; they wake in this order.
fn both_sleep(stage: &Stage<'_>, waking: [&str; 2]) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    let mut asleep = vec![put_to_sleep(stage, "a")?, put_to_sleep(stage, "b")?];
    for host in waking {
        let place = asleep.iter().position(|sleep| sleep.host() == host);
        let sleep = asleep.swap_remove(place.context("both sleep")?);
        sleep.end(stage)?;
    }
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    conclude(stage, traffic)
}

/// It is out until the host has seen that.
fn pulled_in_sleep(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    let sleep = put_to_sleep(stage, "a")?;
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLE)?;
    sleep.end(stage)?;
    await_rail(stage, "a", RailState::Detached, NOTICE)?;
    cables.plug(CABLE)?;
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    conclude(stage, traffic)
}

fn plugged_in_sleep(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLE)?;
    cables.wait_link(CABLE, LinkState::Down, NOTICE)?;
    let sleep = Sleep::begin(stage, "a")?;
    await_rail(stage, "b", RailState::Detached, NOTICE)?;
    cables.plug(CABLE)?;
    sleep.end(stage)?;
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    conclude(stage, traffic)
}

/// The lid closes and the cable comes out at the same time.
fn pulled_on_the_way(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    let mut cables = stage.instance().cables()?;
    let sleep = Sleep::begin(stage, "a")?;
    cables.unplug(CABLE)?;
    sleep.end(stage)?;
    cables.plug(CABLE)?;
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    conclude(stage, traffic)
}

/// The peer that the sleeping host knew is gone, and a new one is there.
fn peer_crashes(stage: &Stage<'_>) -> Result<Outcome> {
    let sleep = put_to_sleep(stage, "a")?;
    stage.note("b loses power");
    stage.instance().crash("b")?;
    sleep.end(stage)?;
    let state = stage.shell("a", "cat /sys/kernel/config/usb4_roce/*/state", LIMIT)?;
    ensure!(state.trim() != "up", "the rail is up without a peer");
    stage.note("b is started again");
    stage.instance().start_again("b")?;
    roce::start_on(stage.instance(), "b")?;
    let traffic = traffic(stage)?;
    conclude(stage, traffic)
}

fn sleep_in_turn(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = traffic(stage)?;
    for (cycle, host) in ["a", "b"]
        .iter()
        .cycle()
        .enumerate()
        .take(cycles(stage.extent()))
    {
        put_to_sleep(stage, host)?.end(stage)?;
        traffic::await_in_use(stage, CABLE, NOTICE)
            .with_context(|| format!("after cycle {}, of {host}", cycle + 1))?;
    }
    conclude(stage, traffic)
}
