// SPDX-License-Identifier: GPL-2.0

//! Several streams of one cable, each with rings of the controllers of its own: as many as the cable is good for.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use usb4_cable::topology::LinkSpeed;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::traffic;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;
use crate::roce::HELPER;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(400);

/// The hosts.
const HOSTS: [&str; 2] = ["a", "b"];

/// Streams that a cable of 40 Gb/s is good for.
const STREAMS: usize = 4;

/// The suite, with a cable of 40 Gb/s.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 3, run);
    Suite {
        name: "rings",
        lab: Lab {
            fabric: Fabric {
                speed: LinkSpeed::Gbps40,
                ..Fabric::PAIR
            },
            prepare,
            ..Lab::MODULE
        },
        tests: vec![
            test("as-many-streams-as-the-cable-is-good-for", good_cable),
            test("rails-of-one-cable-fail-together", unplugged),
        ],
    }
}

fn prepare(stage: &Stage<'_>) -> Result<()> {
    let instance = stage.instance();
    instance.on_each(|host| roce::load(instance, host))
}

/// Has the helper of each host make rails of all the streams that it can.
fn start(stage: &Stage<'_>) -> Result<()> {
    let start = format!("export USB4_ROCE_STREAMS=auto && {HELPER} start && {HELPER} announce");
    stage.instance().on_each(|host| {
        let address = roce::address(host);
        let configure = format!(
            "ip link set {INTERFACE} up && ip address replace {address}/24 dev {INTERFACE}"
        );
        stage.shell(host, &format!("{start} && {configure}"), LIMIT)?;
        Ok(())
    })
}

/// Has the helper of each host take all of it away.
fn stop(stage: &Stage<'_>) -> Result<()> {
    const NOTHING: &str = "! ls -d /sys/kernel/config/usb4_roce/*/ 2>/dev/null && \
        ! ls -d /sys/kernel/config/thunderbolt/stream/*/u4roce* 2>/dev/null";
    for host in HOSTS {
        stage.shell(host, &format!("{HELPER} stop && {NOTHING}"), LIMIT)?;
    }
    Ok(())
}

/// Checks that each host has so many rails, which are up, and that the port is as fast as the cable.
fn check_rails(stage: &Stage<'_>, count: usize) -> Result<()> {
    roce::await_up(stage.instance())?;
    for host in HOSTS {
        let states = stage.shell(host, "cat /sys/kernel/config/usb4_roce/*/state", LIMIT)?;
        let up = states.lines().filter(|state| *state == "up").count();
        ensure!(
            up == count && states.lines().count() == count,
            "{host}: expected {count} rails, all up; they are\n{states}"
        );
        let rate = format!("cat /sys/class/infiniband/{DEVICE}/ports/1/rate");
        let rate = stage.shell(host, &rate, LIMIT)?;
        ensure!(
            rate.starts_with("40 Gb/sec"),
            "{host}: the port has {rate} of a cable of 40 Gb/s"
        );
        let speed = stage.shell(
            host,
            &format!("cat /sys/class/net/{INTERFACE}/speed"),
            LIMIT,
        )?;
        ensure!(
            speed.trim() == "40000",
            "{host}: the interface has {speed} Mb/s of a cable of 40 Gb/s"
        );
    }
    Ok(())
}

fn good_cable(stage: &Stage<'_>) -> Result<Outcome> {
    start(stage)?;
    check_rails(stage, STREAMS)?;
    traffic::verify(stage, "a", "b", LIMIT)?;
    // Each of them has carried something.
    for host in HOSTS {
        let counters = "grep -h '^rx_frames ' /sys/kernel/config/usb4_roce/*/counters";
        let counters = stage.shell(host, counters, LIMIT)?;
        let frames: Vec<u64> = counters
            .lines()
            .filter_map(|line| line.split(' ').nth(1)?.parse().ok())
            .collect();
        ensure!(
            frames.len() == STREAMS && frames.iter().all(|&frames| frames > 0),
            "{host}: rails that carry nothing:\n{counters}"
        );
    }
    Ok(Outcome::Passed)
}

/// The cable is pulled under traffic, which goes on when it is back.
fn unplugged(stage: &Stage<'_>) -> Result<Outcome> {
    let cable = stage.instance().topology().cables[0].name.clone();
    let traffic = Traffic::start(stage, "a", "b", "")?;
    traffic::await_in_use(stage, &cable, LIMIT)?;
    stage.instance().cables()?.unplug(&cable)?;
    stage.instance().cables()?.plug(&cable)?;
    traffic.stop(stage)?;
    check_rails(stage, STREAMS)?;
    stop(stage)?;
    Ok(Outcome::Passed)
}
