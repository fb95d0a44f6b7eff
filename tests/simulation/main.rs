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

use world::Coverage;
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
    let mut covered = Coverage::default();
    let mut failed = Vec::new();
    for seed in first..first + count {
        match catch_unwind(|| World::new(seed).run()) {
            Ok(run) => covered.add(&run),
            Err(_) => failed.push(seed),
        }
    }
    println!("{count} seeds: {covered:?}");
    assert!(
        failed.is_empty(),
        "failing seeds (set SIM_SEED to replay one): {failed:?}"
    );
    if count >= DEFAULT_SEEDS {
        let Coverage {
            repeated_segments,
            repeated_responses,
            duplicates,
            timeouts,
            rnr_naks,
            sequence_naks,
            reopened_rails,
            skipped_headers,
            failed_streams,
            messages: _,
        } = covered;
        for (what, count) in [
            ("repeated segments", repeated_segments),
            ("repeated responses", repeated_responses),
            ("duplicates", duplicates),
            ("timeouts", timeouts),
            ("RNR NAKs", rnr_naks),
            ("sequence NAKs", sequence_naks),
            ("reopened rails", reopened_rails),
            ("skipped headers", skipped_headers),
            ("failed streams", failed_streams),
        ] {
            assert!(count > 0, "the seeds never led to {what}");
        }
    }
}

#[test]
#[ignore = "replays the seed in SIM_SEED"]
fn replay() {
    let seed = number("SIM_SEED").expect("SIM_SEED must be set");
    let mut world = World::new(seed);
    world.trace = true;
    world.run();
}
