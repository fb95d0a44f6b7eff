// SPDX-License-Identifier: GPL-2.0

//! What a running kernel says of its own health: whether it is tainted, and whether its checkers still look.

use anyhow::Context;
use anyhow::Result;

use crate::building::kernel_tree::Kernel;

/// Makes a kernel tell.
pub const ASK: &str = "\
echo tainted $(cat /proc/sys/kernel/tainted)
[ ! -e /proc/lockdep_stats ] || echo $(grep ' debug_locks:' /proc/lockdep_stats)";

/// What it says once when KASAN watches.
pub const KASAN: &str = "KernelAddressSanitizer initialized";

/// A module was loaded that is not in the kernel's tree.
const OUT_OF_TREE: u64 = 1 << 12;

/// A module was loaded that is not signed. Only a kernel that checks signatures says so.
const UNSIGNED: u64 = 1 << 13;

/// A part of the kernel has warned.
pub const WARNED: u64 = 1 << 9;

/// Tests were run in the kernel.
const TEST: u64 = 1 << 18;

/// What `kernel` may be tainted with: not at all before the module is loaded, and from then on with what the module
/// brings.
fn taints(kernel: Kernel) -> &'static [u64] {
    match kernel {
        Kernel::Stock => &[0, OUT_OF_TREE | UNSIGNED],
        Kernel::Debug => &[0, OUT_OF_TREE, OUT_OF_TREE | TEST],
        // Tests of its own are run when it boots.
        Kernel::Native => &[TEST, OUT_OF_TREE | TEST],
    }
}

/// What is wrong with a `kernel` which answers [`ASK`] with `answer`, and may be tainted with `tolerated` as well.
pub fn complaints(kernel: Kernel, answer: &str, tolerated: u64) -> Result<Vec<String>> {
    let value = |name: &str| -> Option<&str> {
        let mut values = answer.lines().filter_map(|line| line.strip_prefix(name));
        values.next().map(str::trim)
    };
    let mut found = Vec::new();
    let tainted = value("tainted").context("the kernel does not say whether it is tainted")?;
    let bits: u64 = tainted.parse().context("the kernel's taint")?;
    if !taints(kernel).contains(&(bits & !tolerated)) {
        found.push(format!(
            "the kernel is tainted with {bits:#x}, not with one of {:x?}",
            taints(kernel)
        ));
    }
    if kernel == Kernel::Debug && value("debug_locks:") != Some("1") {
        found.push("lockdep does not look any more".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints `answer` brings.
    fn count(kernel: Kernel, answer: &str) -> usize {
        complaints(kernel, answer, 0).unwrap().len()
    }

    #[test]
    fn a_healthy_kernel_has_none() {
        for answer in ["tainted 0\n", "tainted 12288\n"] {
            assert_eq!(count(Kernel::Stock, answer), 0, "{answer}");
        }
        for answer in [
            "tainted 0\ndebug_locks: 1\n",
            "tainted 4096\ndebug_locks: 1\n",
            "tainted 266240\ndebug_locks: 1\n",
        ] {
            assert_eq!(count(Kernel::Debug, answer), 0, "{answer}");
        }
    }

    #[test]
    fn any_other_taint_is_found() {
        // After a warning; and unsigned alone.
        for answer in ["tainted 512\n", "tainted 12800\n", "tainted 8192\n"] {
            assert_eq!(count(Kernel::Stock, answer), 1, "{answer}");
        }
        assert!(complaints(Kernel::Stock, "", 0).is_err());
    }

    #[test]
    fn a_lockdep_that_looks_away_is_found() {
        for answer in ["tainted 0\ndebug_locks: 0\n", "tainted 0\n"] {
            assert_eq!(count(Kernel::Debug, answer), 1, "{answer}");
        }
    }

    #[test]
    fn a_tolerated_taint_hides_no_other_one() {
        let found = |answer, tolerated| complaints(Kernel::Stock, answer, tolerated).unwrap().len();
        assert_eq!(found("tainted 12800\n", WARNED), 0);
        assert_eq!(found("tainted 12800\n", 0), 1);
        assert_eq!(found("tainted 12928\n", WARNED), 1);
    }
}
