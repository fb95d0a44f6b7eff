// SPDX-License-Identifier: GPL-2.0

//! Deterministic simulation of hosts, queue pairs and faulty cables under a virtual clock.
//!
//! `SIM_SEEDS=n` sets how many seeds `random_programs` runs, `SIM_FIRST=n` where it begins;
//! `SIM_SEED=n cargo test --test simulation replay -- --ignored --nocapture` runs one.

mod cable;
mod crc;
mod driver;
mod heap;
mod host;
mod ledger;
mod pattern;
mod world;

use std::panic::catch_unwind;

use world::World;

/// Seeds run if the environment does not say.
const DEFAULT_SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[test]
fn random_programs() {
    let first = number("SIM_FIRST").unwrap_or(0);
    let count = number("SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let failed: Vec<u64> = (first..first + count)
        .filter(|&seed| catch_unwind(|| World::new(seed).run()).is_err())
        .collect();
    assert!(
        failed.is_empty(),
        "failing seeds (set SIM_SEED to replay one): {failed:?}"
    );
}

#[test]
#[ignore = "replays the seed in SIM_SEED"]
fn replay() {
    let seed = number("SIM_SEED").expect("SIM_SEED must be set");
    let mut world = World::new(seed);
    world.trace = true;
    world.run();
}
