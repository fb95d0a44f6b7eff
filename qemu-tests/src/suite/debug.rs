// SPDX-License-Identifier: GPL-2.0

//! What other suites do, on the debug kernel: an older version than the stock one, with lockdep, KASAN and kmemleak
//! watching. It is an order of magnitude slower, so not all of it.

use super::faults;
use super::life;
use super::verbs;
use super::Lab;
use super::Suite;
use super::Test;
use crate::building::kernel_tree::Kernel;
use crate::hosts::extent::Extent;

/// CPUs of each host of the debug suites: where the checkers look, as much as possible is to happen at once.
pub const CPUS: u32 = 4;

/// How much more time a test gets here.
const SLOWNESS: u32 = 2;

/// What is chosen of other suites.
struct Choice {
    traffic: &'static [&'static str],
    weather: &'static [&'static str],
    ends: &'static [&'static str],
}

/// Traffic, connections by address, an end in the middle of it.
const SHORT: Choice = Choice {
    traffic: &["verify", "rdma-cm"],
    weather: &[],
    ends: &["killed-process-leaves-nothing"],
};

/// Mistakes, bad weather, a pulled cable, coming and going, too.
const LONG: Choice = Choice {
    traffic: &["ping", "verify", "errors", "odp", "rdma-cm", "all-reduce"],
    weather: &["everything-at-once"],
    ends: &[
        "killed-process-leaves-nothing",
        "unplugged-with-queue-pairs-open",
        "unload-and-load-again",
    ],
};

/// A lab with the debug kernel and one cable.
pub const LAB: Lab = on_debug(Lab::MODULE);

/// A lab with the debug kernel in place of the stock one, and more CPUs.
const fn on_debug(lab: Lab) -> Lab {
    Lab {
        kernel: Kernel::Debug,
        cpus: CPUS,
        ..lab
    }
}

/// The suite.
pub fn suite(extent: Extent) -> Suite {
    let choice = match extent {
        Extent::Short => SHORT,
        Extent::Long => LONG,
    };
    let mut tests = chosen(verbs::suite().tests, choice.traffic);
    tests.extend(chosen(faults::suite().tests, choice.weather));
    tests.extend(chosen(life::suite().tests, choice.ends));
    Suite {
        name: "debug",
        lab: LAB,
        tests,
    }
}

/// Another suite on the debug kernel, with its CPUs and more time.
pub fn watched(name: &'static str, suite: Suite) -> Suite {
    Suite {
        name,
        lab: on_debug(suite.lab),
        tests: slowed(suite.tests),
    }
}

/// Those of `tests` with these names, with more time.
pub fn chosen(tests: Vec<Test>, names: &[&str]) -> Vec<Test> {
    let chosen: Vec<Test> = tests
        .into_iter()
        .filter(|test| names.contains(&test.name))
        .collect();
    assert_eq!(chosen.len(), names.len(), "not all of {names:?} exist");
    slowed(chosen)
}

fn slowed(tests: Vec<Test>) -> Vec<Test> {
    tests
        .into_iter()
        .map(|test| Test {
            limit: test.limit * SLOWNESS,
            ..test
        })
        .collect()
}
