// SPDX-License-Identifier: GPL-2.0

//! A process that may outlive the lab which started it, known by its id and start time.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;
use serde::Deserialize;
use serde::Serialize;

use crate::building::within::Program;

/// How often a process that is to end is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long a killed process may take to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    pid: i32,
    /// In clock ticks after boot: tells the process from a later one with the same id.
    started: u64,
}

impl Daemon {
    /// Starts `program`, with its output in the file `log`.
    pub fn start(program: &Program, log: &Path) -> Result<Self> {
        let name = program.argv.first().map_or("", String::as_str);
        Self::spawn(&mut program.command()?, name, log)
    }

    /// Runs `command`, called `name`, with its output in the file `log`.
    pub fn spawn(command: &mut Command, name: &str, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().context("duplicate the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = i32::try_from(child.id()).context("process id")?;
        let started = running_since(pid).with_context(|| {
            format!(
                "{name} ended at once: {}",
                fs::read_to_string(log).unwrap_or_default()
            )
        })?;
        Ok(Self { pid, started })
    }

    /// Its id.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn alive(self) -> bool {
        running_since(self.pid) == Some(self.started)
    }

    /// Waits for the end, at most `limit`; tells whether it came.
    pub fn wait(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Asks it to end with SIGTERM and waits at most `limit`; tells whether it did.
    pub fn terminate(self, limit: Duration) -> bool {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// Kills it and waits until it is gone.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        self.wait(KILL_LIMIT);
    }

    fn signal(self, signal: Signal) {
        if let (true, Some(pid)) = (self.alive(), Pid::from_raw(self.pid)) {
            // It may have ended since; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Start time of the process `pid`, unless it has ended, though nobody may have asked for its status yet.
fn running_since(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Start time from the text of `/proc/<pid>/stat`, `None` for a process that has ended. The name in parentheses may
/// hold anything, so fields count from the last parenthesis: the state is the first, the number of threads the 18th, the start time the 20th.
///
/// A process is a zombie as soon as its first thread has ended. Others that still do so have its sockets open, where somebody who looks for its
/// successor would be heard by nobody.
fn parse_stat(stat: &str) -> Option<u64> {
    const THREADS: usize = 17;
    const START_TIME: usize = 19;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let threads: u32 = fields.get(THREADS)?.parse().ok()?;
    match fields.first()? {
        &"Z" | &"X" if threads <= 1 => None,
        _ => fields.get(START_TIME)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_any_name() {
        let rest = |threads| format!("1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0 0");
        let one = rest(1);
        assert_eq!(parse_stat(&format!("12 (a) b) S {one}")), Some(4711));
        assert_eq!(parse_stat(&format!("12 (lab) Z {one}")), None);
        assert_eq!(parse_stat(&format!("12 (lab) Z {}", rest(2))), Some(4711));
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_alive() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = running_since(pid).unwrap();
        assert!(Daemon { pid, started }.alive());
        let later = started + 1;
        assert!(!Daemon {
            pid,
            started: later
        }
        .alive());
    }
}
