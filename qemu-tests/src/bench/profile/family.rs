// SPDX-License-Identifier: GPL-2.0

//! Processes, and all that they start.

use std::collections::BTreeSet;

/// What perf writes of a process or a thread that is started: `PERF_RECORD_FORK(child:thread):(parent:thread)`.
const FORK: &str = "PERF_RECORD_FORK(";

/// Processes, and those that they have started since.
#[derive(Clone, Debug)]
pub struct Family {
    pids: BTreeSet<i32>,
}

impl Family {
    /// These processes.
    pub fn new(pids: impl IntoIterator<Item = i32>) -> Self {
        Self {
            pids: pids.into_iter().collect(),
        }
    }

    /// Whether a process belongs to it.
    pub fn has(&self, pid: i32) -> bool {
        self.pids.contains(&pid)
    }

    /// Takes in who was started by one of them, if that is what perf's line says.
    pub fn note(&mut self, line: &str) {
        if let Some((child, parent)) = fork(line) {
            if self.has(parent) {
                self.pids.insert(child);
            }
        }
    }
}

/// The process that was started, and the one that did.
fn fork(line: &str) -> Option<(i32, i32)> {
    let (_, who) = line.split_once(FORK)?;
    let (child, parent) = who.split_once("):(")?;
    let pid = |who: &str| who.split(':').next()?.parse().ok();
    Some((pid(child)?, pid(parent)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_started_by_one_of_them_is_one_of_them() {
        let mut family = Family::new([7]);
        family.note(" 7 PERF_RECORD_FORK(8:8):(7:9)");
        family.note(" 8 PERF_RECORD_FORK(10:10):(8:8)");
        family.note(" 3 PERF_RECORD_FORK(4:4):(3:3)");
        family.note(" 7 PERF_RECORD_COMM: PERF_RECORD_FORK(:7/7");
        let all: Vec<_> = (0..12).filter(|&pid| family.has(pid)).collect();
        assert_eq!(all, [7, 8, 10]);
    }
}
