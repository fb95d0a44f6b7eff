// SPDX-License-Identifier: GPL-2.0

//! What other suites do, on the debug kernel: an older version than the stock one, with lockdep, KASAN and kmemleak watching.
//! It is an order of magnitude slower, so not all of it.

use super::life;
use super::verbs;
use super::Suite;
use super::Test;
use crate::kernel_tree::Kernel;

/// Traffic, mistakes, coming and going, over one cable.
pub fn suite() -> Suite {
    let mut tests = chosen(verbs::suite(), &["ping", "verify", "errors", "all-reduce"]);
    let life = life::suite();
    tests.extend(chosen(
        life::suite(),
        &["unplugged-with-queue-pairs-open", "unload-and-load-again"],
    ));
    Suite {
        name: "debug",
        kernel: Kernel::Debug,
        tests,
        ..life
    }
}

/// The tests of `suite` with these names, in the order of the suite.
fn chosen(suite: Suite, names: &[&str]) -> Vec<Test> {
    let tests: Vec<Test> = suite
        .tests
        .into_iter()
        .filter(|test| names.contains(&test.name))
        .collect();
    assert_eq!(
        tests.len(),
        names.len(),
        "{} has not all of {names:?}",
        suite.name
    );
    tests
}
