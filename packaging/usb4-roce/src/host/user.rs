// SPDX-License-Identifier: GPL-2.0

//! Who asks, and what that user may.

use crate::root::Root;

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Whether it is root.
    pub is_root: bool,
    /// How much memory a process of theirs may lock, now.
    pub memlock: Limit,
    /// How far they may raise that.
    pub memlock_most: Limit,
}

/// A limit in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// So many.
    Bytes(u64),
    /// There is none.
    Unlimited,
    /// The kernel does not say.
    Unknown,
}

impl User {
    /// Reads who this process belongs to.
    pub fn read(root: &Root) -> Self {
        let status = root.value("/proc/self/status").unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        // Real, effective, saved and of the file system.
        let effective = uids.and_then(|uids| uids.split_whitespace().nth(1));
        let limits = root.value("/proc/self/limits").unwrap_or_default();
        let (memlock, memlock_most) = memlock(&limits);
        Self {
            is_root: effective == Some("0"),
            memlock,
            memlock_most,
        }
    }
}

fn memlock(limits: &str) -> (Limit, Limit) {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"));
    let mut values =
        line.unwrap_or("")
            .split_whitespace()
            .map(|value| match (value, value.parse()) {
                ("unlimited", _) => Limit::Unlimited,
                (_, Ok(bytes)) => Limit::Bytes(bytes),
                (_, Err(_)) => Limit::Unknown,
            });
    let mut next = || values.next().unwrap_or(Limit::Unknown);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_soft_and_hard() {
        let line =
            "Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(memlock(line), (Limit::Bytes(8 << 20), Limit::Unlimited));
        assert_eq!(memlock(""), (Limit::Unknown, Limit::Unknown));
        assert!(Limit::Bytes(u64::MAX) < Limit::Unlimited);
    }
}
