// SPDX-License-Identifier: GPL-2.0

//! The module's in-kernel tests, on the debug kernel: with lockdep, KASAN and kmemleak watching.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;

use super::debug;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;

/// Its name.
pub const NAME: &str = "kunit";

/// Time limit.
const LIMIT: Duration = Duration::from_secs(400);

/// Fewer tests than this mean that some were lost: `#[kunit_tests]` vanishes silently when KUnit is off.
const FLOOR: usize = 128;

/// The same of those of a user in the kernel.
const FLOOR_OF_KERNEL_USER: usize = 13;

/// The suite, in the lab of the debug suite: a boot takes longer than everything else.
pub fn suite() -> Suite {
    Suite {
        name: NAME,
        tests: vec![
            Test::new("all", LIMIT, all),
            Test::new("kernel-user", LIMIT, kernel_user),
        ],
        lab: debug::LAB,
    }
}

fn all(stage: &Stage<'_>) -> Result<Outcome> {
    let load = "modprobe -a configfs ib_uverbs thunderbolt && insmod /lab/share/usb4_roce_kunit.ko";
    stage.shell("a", load, LIMIT)?;
    let results = stage.shell("a", "cat /sys/kernel/debug/kunit/*/results", LIMIT)?;
    stage.shell("a", "rmmod usb4_roce_kunit", LIMIT)?;
    judge(&results, FLOOR)
}

/// What a user in the kernel does with the device.
fn kernel_user(stage: &Stage<'_>) -> Result<Outcome> {
    stage.shell("a", "insmod /lab/share/usb4_roce_kernel_user.ko", LIMIT)?;
    let results = "cat /sys/kernel/debug/kunit/usb4_roce_kernel_user_of_device/results";
    let results = stage.shell("a", results, LIMIT)?;
    stage.shell("a", "rmmod usb4_roce_kernel_user", LIMIT)?;
    judge(&results, FLOOR_OF_KERNEL_USER)
}

fn judge(results: &str, floor: usize) -> Result<Outcome> {
    let (passed, others) = count(results);
    ensure!(others.is_empty(), "{}", others.join("\n"));
    ensure!(
        passed >= floor,
        "{passed} tests ran, expected at least {floor}"
    );
    Ok(Outcome::Passed)
}

/// Number of tests that passed, and the lines of those that did anything else, in KTAP text. A test is one
/// level below its suite: its line is indented by 4.
fn count(results: &str) -> (usize, Vec<String>) {
    const INDENT: &str = "    ";
    let mut passed = 0;
    let mut others = Vec::new();
    for line in results.lines() {
        let Some(test) = line.strip_prefix(INDENT) else {
            continue;
        };
        if test.starts_with("ok ") && !test.contains("# SKIP") {
            passed += 1;
        } else if test.starts_with("ok ") || test.starts_with("not ok ") {
            others.push(test.to_owned());
        }
    }
    (passed, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_and_suites_are_not() {
        let results =
            "KTAP version 1\n    KTAP version 1\n    # Subtest: queue\n    1..3\n    ok 1 a\n    \
            not ok 2 b\n    ok 3 c # SKIP no reason\nnot ok 1 queue\n";
        let (passed, others) = count(results);
        assert_eq!(passed, 1);
        assert_eq!(others, ["not ok 2 b", "ok 3 c # SKIP no reason"]);
    }
}
