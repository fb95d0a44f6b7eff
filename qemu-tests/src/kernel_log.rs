// SPDX-License-Identifier: GPL-2.0

//! Looking for trouble in a kernel log.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

/// What a kernel says when something is wrong with it.
const TROUBLE: [&str; 40] = [
    "WARNING: ",
    "BUG: ",
    "BUG ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "Unable to handle",
    "unable to handle",
    "stack segment",
    "divide error",
    "invalid opcode",
    "Call Trace:",
    "INFO: possible",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "bad unlock balance",
    "held lock freed",
    "suspicious RCU usage",
    "INFO: task ",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "KASAN: ",
    "UBSAN: ",
    "KFENCE: ",
    "ODEBUG: ",
    "DMA-API: ",
    "new suspected memory leaks",
    "unreferenced object",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "Bad page state",
    "detected stall",
    "soft lockup",
    "hard LOCKUP",
    "unregister_netdevice: waiting for",
    "Out of memory: ",
    "page allocation failure",
];

/// What a program in the guest does not do either.
const CRASHES: [&str; 2] = ["segfault at ", "traps: "];

/// Lines shown from each trouble on.
const EXCERPT: usize = 25;

/// Most troubles shown: what follows the first is often its consequence.
const MOST: usize = 3;

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// The log of one host.
#[derive(Clone, Debug)]
pub struct KernelLog {
    path: PathBuf,
}

impl KernelLog {
    /// The log in the file `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The place where it begins.
    pub fn start() -> Mark {
        Mark(0)
    }

    /// Where it ends now.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.read()?.len()))
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: Mark) -> Result<String> {
        let content = self.read()?;
        let new = content.get(mark.0..).unwrap_or_default();
        Ok(String::from_utf8_lossy(new).into_owned())
    }

    fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).with_context(|| format!("read {}", self.path.display()))
    }
}

/// The troubles in `log`, each with the lines that follow it.
pub fn troubles(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let mut found = Vec::new();
    let mut next = 0;
    while next < lines.len() && found.len() < MOST {
        if is_trouble(lines[next]) {
            let end = lines.len().min(next + EXCERPT);
            found.push(lines[next..end].join("\n"));
            next = end;
        } else {
            next += 1;
        }
    }
    found
}

fn is_trouble(line: &str) -> bool {
    let says = |part: &&str| line.contains(*part);
    TROUBLE.iter().chain(&CRASHES).any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_found_with_what_follows() {
        let log = "[    1.0] fine\n\
            [    2.0] WARNING: CPU: 0 PID: 1 at drivers/x.c:1 f+0x1/0x2\n\
            [    2.1] Modules linked in:\n";
        let found = troubles(log);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("drivers/x.c:1") && found[0].contains("Modules linked in"));
    }

    #[test]
    fn each_kind_is_found() {
        for line in [
            "BUG: unable to handle page fault for address: 0",
            "BUG: KASAN: slab-use-after-free in f",
            "WARNING: possible circular locking dependency detected",
            "INFO: task x:1 blocked for more than 120 seconds.",
            "BUG: scheduling while atomic: x/1/0x2",
            "refcount_t: underflow; use-after-free.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "WARNING: suspicious RCU usage",
            "ibv_devinfo[1]: segfault at 0 ip 0",
        ] {
            assert_eq!(troubles(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_healthy_boot_has_none() {
        let log = "[Firmware Bug]: x\nrcu: Preemptible hierarchical RCU implementation.\n\
            thunderbolt 0000:00:05.0: device links to tunneled native ports are missing!\n\
            DEBUG_LOCKS\nWARN_ON is fine\nworkqueue: x hogged CPU for >10000us 4 times\n";
        assert_eq!(troubles(log), Vec::<String>::new());
    }

    #[test]
    fn the_first_troubles_are_enough() {
        let log = "BUG: x\n".repeat(1000);
        assert_eq!(troubles(&log).len(), MOST);
    }

    #[test]
    fn only_what_is_new_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        fs::write(&path, "old\n").unwrap();
        let log = KernelLog::new(path.clone());
        let mark = log.mark().unwrap();
        fs::write(&path, "old\nnew\n").unwrap();
        assert_eq!(log.since(mark).unwrap(), "new\n");
        assert_eq!(log.since(KernelLog::start()).unwrap(), "old\nnew\n");
    }
}
