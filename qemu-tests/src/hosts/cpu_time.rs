// SPDX-License-Identifier: GPL-2.0

//! How long processes have had a CPU of the machine that the lab runs on.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use nix::time::ClockId;
use nix::unistd::Pid;
use rustix::param::clock_ticks_per_second;

/// A process as `/proc/<pid>/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// CPU time of those it has started that have ended, in clock ticks, with those that these had started.
    ended: u64,
}

/// The processes `root` and all that it has started, directly or not, as far as they still run.
pub fn tree(root: i32) -> Result<Vec<i32>> {
    Ok(descendants(root, &processes()?))
}

/// CPU time that the process `root` and all that it has started, directly or not, have used so far: those that have ended count too.
///
/// A kernel that is a process has its processes in processes of their own.
pub fn of_tree(root: i32) -> Result<Duration> {
    let all = processes()?;
    let mut sum = Duration::ZERO;
    let mut ticks = 0;
    for pid in descendants(root, &all) {
        // Who has ended since counts for its parent from now on.
        if let Some(used) = of_process(pid) {
            sum += used;
        }
        ticks += all.get(&pid).map_or(0, |process| process.ended);
    }
    Ok(sum + Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// CPU time of all threads of a process, to the nanosecond.
fn of_process(pid: i32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
    clock.now().ok().map(Duration::from)
}

/// All processes of the machine.
fn processes() -> Result<BTreeMap<i32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("list the processes")? {
        let name = entry.context("list the processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended since.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        if let Some(process) = stat.ok().and_then(|stat| parse(&stat)) {
            all.insert(pid, process);
        }
    }
    Ok(all)
}

/// `root`, and the processes below it.
fn descendants(root: i32, all: &BTreeMap<i32, Process>) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = all.iter().filter(|(_, process)| process.parent == parent);
        found.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// From the text of `/proc/<pid>/stat`. The name in parentheses may hold anything, so fields count from the last parenthesis.
fn parse(stat: &str) -> Option<Process> {
    const PARENT: usize = 1;
    const ENDED_USER: usize = 13;
    const ENDED_SYSTEM: usize = 14;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        parent: fields.get(PARENT)?.parse().ok()?,
        ended: ticks(ENDED_USER)? + ticks(ENDED_SYSTEM)?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    fn process(parent: i32) -> Process {
        Process { parent, ended: 0 }
    }

    #[test]
    fn stat_is_read_behind_any_name() {
        let text = "12 (a) b) S 7 1 1 0 -1 0 0 0 0 0 30 40 5 6 20 0 1 0 4711 0 0";
        let found = parse(text).unwrap();
        assert_eq!(
            found,
            Process {
                parent: 7,
                ended: 11
            }
        );
        assert_eq!(parse("12 (x) S 7"), None);
    }

    #[test]
    fn a_tree_is_all_that_was_started() {
        let all = BTreeMap::from([
            (1, process(0)),
            (2, process(1)),
            (3, process(2)),
            (4, process(2)),
            (5, process(1)),
        ]);
        assert_eq!(descendants(2, &all), [2, 3, 4]);
        assert_eq!(descendants(5, &all), [5]);
    }

    #[test]
    fn what_was_used_counts_also_when_it_has_ended() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = of_tree(own).unwrap();
        let busy = Instant::now();
        let used = of_process(own).unwrap();
        while of_process(own).unwrap() < used + Duration::from_millis(20) {
            assert!(busy.elapsed() < Duration::from_secs(60));
        }
        let mut child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done"])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let after = of_tree(own).unwrap();
        assert!(
            after >= before + Duration::from_millis(30),
            "{before:?} {after:?}"
        );
    }
}
