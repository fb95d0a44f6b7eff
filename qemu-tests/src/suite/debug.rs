// SPDX-License-Identifier: GPL-2.0

//! What other suites do, on the debug kernel: an older version than the stock one, with lockdep, KASAN and kmemleak
//! watching. It is an order of magnitude slower, so not all of it.

use super::faults;
use super::life;
use super::verbs;
use super::Suite;
use super::Test;
use crate::kernel_tree::Kernel;

/// CPUs of each host of the debug suites: where the checkers look, as much as possible is to happen at once.
const CPUS: u32 = 4;

/// How much more time a test gets here.
const SLOWNESS: u32 = 2;

/// Traffic, bad weather, mistakes, ends in the middle of it, coming and going, over one cable.
pub fn suite() -> Suite {
    let life = life::suite();
    let traffic = ["ping", "verify", "errors", "all-reduce"];
    let ends = [
        "killed-process-leaves-nothing",
        "unplugged-with-queue-pairs-open",
        "unload-and-load-again",
    ];
    let mut tests = chosen(verbs::suite().tests, &traffic);
    tests.extend(chosen(faults::suite().tests, &["everything-at-once"]));
    tests.extend(chosen(life.tests, &ends));
    Suite {
        name: "debug",
        kernel: Kernel::Debug,
        cpus: CPUS,
        tests,
        ..life
    }
}

/// Those of `tests` with these names.
fn chosen(tests: Vec<Test>, names: &[&str]) -> Vec<Test> {
    let chosen: Vec<Test> = tests
        .into_iter()
        .filter(|test| names.contains(&test.name))
        .map(|test| Test {
            limit: test.limit * SLOWNESS,
            ..test
        })
        .collect();
    assert_eq!(chosen.len(), names.len(), "not all of {names:?} exist");
    chosen
}
