// SPDX-License-Identifier: GPL-2.0

//! Four hosts, each cabled to each other one.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::Lab;
use super::Need;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::Pieces;
use crate::roce::programs::Ping;
use crate::roce::state::await_rail_loss;
use crate::roce::traffic;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// All pairs of hosts.
const PAIRS: [(&str, &str); 6] = [
    ("a", "b"),
    ("a", "c"),
    ("a", "d"),
    ("b", "c"),
    ("b", "d"),
    ("c", "d"),
];

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 4, run);
    Suite {
        name: "mesh",
        lab: Lab {
            fabric: Fabric {
                hosts: 4,
                ..Fabric::PAIR
            },
            ..Lab::MODULE
        },
        tests: vec![
            test("ping-each-pair", ping),
            test("frames-go-where-they-belong", no_stray_frames),
            test("verify-each-pair", verify).needing(Need::Speed),
            test("all-reduce", all_reduce),
            test("one-host-unplugged", unplugged).needing(Need::Speed),
        ],
    }
}

fn ping(stage: &Stage<'_>) -> Result<Outcome> {
    for (one, other) in PAIRS {
        for (from, to) in [(one, other), (other, one)] {
            let to = roce::address(to);
            Ping::small(10, &to).run(stage, from, LIMIT)?;
            let jumbo = Ping {
                count: 5,
                size: 8900,
                pieces: Pieces::Forbidden,
                to: &to,
            };
            jumbo.run(stage, from, LIMIT)?;
        }
    }
    Ok(Outcome::Passed)
}

/// Frames that the interface of `host` has received.
fn received(stage: &Stage<'_>, host: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{INTERFACE}/statistics/rx_packets");
    let count = stage.shell(host, &format!("cat {path}"), LIMIT)?;
    count.trim().parse().context("a count of packets")
}

/// What goes from one host to another must not reach others; a broadcast reaches all.
fn no_stray_frames(stage: &Stage<'_>) -> Result<Outcome> {
    /// Frames sent.
    const SENT: u32 = 200;
    /// Frames of other origin that may come meanwhile, such as neighbour discovery.
    const OTHERS: u64 = 50;
    let before = received(stage, "c")?;
    let to = roce::address("b");
    Ping::small(SENT, &to).run(stage, "a", LIMIT)?;
    let stray = received(stage, "c")? - before;
    ensure!(
        stray < OTHERS,
        "{stray} frames reached host c while {SENT} went from a to b"
    );
    let before = [received(stage, "b")?, received(stage, "c")?];
    let broadcast = format!("ping -b -c {SENT} -i 0.01 -W 1 10.55.0.255");
    // No host answers a ping to a broadcast address.
    stage.attempt("a", &broadcast, LIMIT)?;
    for (host, before) in ["b", "c"].into_iter().zip(before) {
        let got = received(stage, host)? - before;
        ensure!(
            got >= SENT.into(),
            "only {got} frames of {SENT} broadcasts reached host {host}"
        );
    }
    Ok(Outcome::Passed)
}

fn verify(stage: &Stage<'_>) -> Result<Outcome> {
    for (one, other) in PAIRS {
        traffic::verify(stage, one, other, LIMIT).with_context(|| format!("{one} and {other}"))?;
    }
    Ok(Outcome::Passed)
}

fn all_reduce(stage: &Stage<'_>) -> Result<Outcome> {
    crate::roce::all_reduce::run(stage, 6 << 20, "--iterations 2 --latency-rounds 100")?;
    Ok(Outcome::Passed)
}

/// Without the cable between two hosts, both still work with the others.
fn unplugged(stage: &Stage<'_>) -> Result<Outcome> {
    // Between a and b.
    const CABLE: &str = "c0";
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLE)?;
    for host in ["a", "b"] {
        await_rail_loss(stage, &[host], LIMIT)?;
        for other in ["c", "d"] {
            traffic::verify(stage, host, other, LIMIT)
                .with_context(|| format!("{host} and {other}"))?;
            let to = roce::address(other);
            Ping::small(5, &to).run(stage, host, LIMIT)?;
        }
    }
    cables.plug(CABLE)?;
    stage.instance().await_streams()?;
    roce::await_up(stage.instance())?;
    traffic::verify(stage, "a", "b", LIMIT)?;
    Ok(Outcome::Passed)
}
