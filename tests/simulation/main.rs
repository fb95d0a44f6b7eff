// SPDX-License-Identifier: GPL-2.0

//! Deterministic simulation of hosts, queue pairs and faulty cables under a virtual clock.
//!
//! Each seed is a world of its own: hosts, cables, weather, programs. After three seconds of faults
//! everything is healed, and all must come to its end; what happens on the way is checked against a
//! ledger of what ought to.
//!
//! `SIM_SEEDS=n` sets how many seeds `random_programs` runs, `SIM_FIRST=n` where it begins;
//! `SIM_SEED=n cargo test --test simulation replay -- --ignored --nocapture` runs one and tells what
//! happens in it.

mod cable;
#[path = "../support/checksum.rs"]
mod checksum;
mod datagrams;
mod driver;
mod frames;
#[path = "../support/heap.rs"]
mod heap;
mod host;
mod ledger;
mod log;
mod pattern;
mod unreliable;
mod words;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use world::Coverage;
use world::World;

/// Seeds run if the environment does not say.
const DEFAULT_SEEDS: u64 = 2_000;

/// So many seeds must have led to everything there is to lead to.
const ENOUGH_SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[test]
fn random_programs() {
    let first = number("SIM_FIRST").unwrap_or(0);
    let count = number("SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let next = AtomicU64::new(first);
    let results = Mutex::new((Coverage::default(), Vec::new()));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let outcome = catch_unwind(|| World::new(seed).run());
                let (covered, failed) = &mut *results.lock().unwrap();
                match outcome {
                    Ok(run) => covered.add(&run),
                    Err(_) => {
                        println!("seed {seed} failed");
                        failed.push(seed);
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (covered, mut failed) = results.into_inner().unwrap();
    println!(
        "{count:>14} seeds, {:.0} per second",
        count as f64 / seconds
    );
    for (what, figure) in covered.figures() {
        println!("{figure:>14} {what}");
    }
    failed.sort_unstable();
    assert!(
        failed.is_empty(),
        "{} failing seeds (make sim SEED=n replays one): {failed:?}",
        failed.len()
    );
    if count >= ENOUGH_SEEDS {
        for (what, figure) in covered.figures() {
            assert!(figure > 0, "the seeds never led to this: {what}");
        }
    }
}

#[test]
#[ignore = "replays the seed in SIM_SEED"]
fn replay() {
    let seed = number("SIM_SEED").expect("SIM_SEED must be set");
    let mut world = World::new(seed);
    world.tell();
    world.run();
}
