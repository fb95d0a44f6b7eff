// SPDX-License-Identifier: GPL-2.0

//! What a run of everything leaves out for want of time: on native hosts what they can do, on emulated ones what only `--long` has.

use std::collections::BTreeSet;

use super::native;
use super::Suite;
use crate::hosts::extent::Extent;

/// The suites. Together with those of a run of everything they have each test once.
pub fn rest(all: fn(Extent) -> Vec<Suite>) -> Vec<Suite> {
    let short = native::emulated(all(Extent::Short), Extent::Short);
    let left_out: BTreeSet<String> = short.left_out.into_iter().map(|(name, _)| name).collect();
    let mut suites = native::lane(all(Extent::Short)).suites;
    keep(&mut suites, |name| left_out.contains(name));
    let known: BTreeSet<String> = names(&all(Extent::Short)).collect();
    let mut others = all(Extent::Long);
    keep(&mut others, |name| !known.contains(name));
    suites.extend(others);
    suites
}

/// Keeps the tests whose name `is_kept` is for.
fn keep(suites: &mut Vec<Suite>, is_kept: impl Fn(&str) -> bool) {
    for suite in &mut *suites {
        let of = suite.name;
        suite
            .tests
            .retain(|test| is_kept(&format!("{of}/{}", test.name)));
    }
    suites.retain(|suite| !suite.tests.is_empty());
}

fn names(suites: &[Suite]) -> impl Iterator<Item = String> + '_ {
    suites.iter().flat_map(Suite::names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::all;

    #[test]
    fn each_test_is_in_one_of_both_runs() {
        let short = native::emulated(all(Extent::Short), Extent::Short).suites;
        let rest = rest(all);
        let mut run: Vec<String> = names(&short).chain(names(&rest)).collect();
        let every = all(Extent::Long);
        let mut every: Vec<String> = names(&every).collect();
        run.sort();
        every.sort();
        assert_eq!(run, every);
    }
}
