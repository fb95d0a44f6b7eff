// SPDX-License-Identifier: GPL-2.0

//! Watching over the kernels of a lab.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use super::expectation::Expectation;
use super::health;
use super::scan::has_tolerated_warning;
use super::scan::troubles;
use super::KernelLog;
use super::Mark;
use super::Stretch;
use crate::building::kernel_tree::Kernel;
use crate::hosts::instance::Instance;

/// How long a host may take to answer, and the kernel log's last lines to reach their file.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks at the log.
const POLL: Duration = Duration::from_millis(20);

/// How long the two scans for leaks may take, with KASAN under TCG.
const LEAK_LIMIT: Duration = Duration::from_secs(900);

/// Looks for leaked memory where the kernel can tell. An object is reported in the second scan. A kernel that cannot
/// look any more refuses.
const LEAK_SCAN: &str = "\
leaks=/sys/kernel/debug/kmemleak
echo scan > $leaks && sleep 6 && echo scan > $leaks && cat $leaks";

/// A host, and how far its log has been looked through.
struct Watched {
    host: String,
    log: KernelLog,
    mark: Mark,
    /// What its kernel may be tainted with by what it was expected to say.
    tolerated: u64,
}

/// What a kernel says when all has been shut down and it is about to switch the power off. It stops its processors then, one
/// after the other and behind the scheduler's back, which may warn that a task is to run where nothing runs any more.
const OFF: &str = "reboot: Power down";

/// Looks after the kernels of all hosts of a lab.
pub struct Watch {
    kernel: Kernel,
    hosts: Vec<Watched>,
    looks: u32,
}

/// The lines before the one that says so.
fn until_off(log: &str) -> &str {
    let before = log.find(OFF).map_or(log, |off| &log[..off]);
    match (before.len() < log.len(), before.rfind('\n')) {
        (false, _) => log,
        (true, Some(end)) => &log[..=end],
        (true, None) => "",
    }
}

impl Watch {
    /// A watch over the lab `instance`, from its hosts' first lines on.
    pub fn new(instance: &Instance, kernel: Kernel) -> Self {
        let watched = instance.names().into_iter().map(|host| Watched {
            log: KernelLog::of(instance, &host),
            host,
            mark: KernelLog::start(),
            tolerated: 0,
        });
        Self {
            kernel,
            hosts: watched.collect(),
            looks: 0,
        }
    }

    /// Fails unless the kernels are healthy at the end of `what`, and have said only what healthy ones say since the last
    /// look, and what is expected.
    pub fn look(
        &mut self,
        instance: &Instance,
        what: &str,
        expectations: &[Expectation],
    ) -> Result<()> {
        self.looks += 1;
        let end = format!("lab: end of {what} ({})", self.looks);
        let kernel = self.kernel;
        let looked = self.hosts.iter_mut().map(|watched| {
            let answer = watched.ask(instance, kernel, &end, expectations);
            let (log, complaints) = match answer {
                Ok((log, complaints)) => (log, complaints),
                // What a host that does not answer has said before says most.
                Err(error) => (watched.log.since(watched.mark)?, vec![format!("{error:#}")]),
            };
            Ok(watched.complain(&log, expectations, complaints))
        });
        complain_of(looked)
    }

    /// The same after the hosts were powered off: of all that they have said since the last look.
    pub fn look_at_end(&mut self) -> Result<()> {
        let looked = self.hosts.iter_mut().map(|watched| {
            let mut log = watched.log.since(watched.mark)?;
            let length = until_off(&log.text).len();
            log.text.truncate(length);
            Ok(watched.complain(&log, &[], Vec::new()))
        });
        complain_of(looked)
    }

    /// Fails if a kernel does not watch over itself as it is made to.
    pub fn check_checkers(&self) -> Result<()> {
        if self.kernel != Kernel::Debug {
            return Ok(());
        }
        for Watched { host, log, .. } in &self.hosts {
            if !log.since(KernelLog::start())?.text.contains(health::KASAN) {
                bail!("KASAN does not watch over {host}");
            }
        }
        Ok(())
    }

    /// Fails if a kernel that can tell finds that it has lost memory.
    pub fn look_for_leaks(&self, instance: &Instance) -> Result<()> {
        if self.kernel != Kernel::Debug {
            return Ok(());
        }
        let leaks = thread::scope(|scope| {
            let scan = |host: &Watched| -> Result<String> {
                let found = instance.shell(&host.host, LEAK_SCAN, LEAK_LIMIT)?;
                Ok(found.trim_end().to_owned())
            };
            let scans: Vec<_> = self
                .hosts
                .iter()
                .map(|host| (host, scope.spawn(move || scan(host))))
                .collect();
            let joined = scans.into_iter().map(|(host, scan)| {
                let found = scan.join().unwrap_or_else(|_| bail!("the scan panicked"));
                let found = found.context("look for lost memory")?;
                Ok((!found.is_empty()).then(|| format!("lost memory of {}:\n{found}", host.host)))
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        let leaks: Vec<String> = leaks.into_iter().flatten().collect();
        if !leaks.is_empty() {
            bail!("{}", leaks.join("\n"));
        }
        Ok(())
    }
}

impl Watched {
    /// Waits until all that the kernel has said up to now, where `end` is put, is in the log; gives it, and what is wrong
    /// with the kernel by its own account.
    fn ask(
        &mut self,
        instance: &Instance,
        kernel: Kernel,
        end: &str,
        expectations: &[Expectation],
    ) -> Result<(Stretch, Vec<String>)> {
        let script = format!("{}\necho '{end}' > /dev/kmsg", health::ASK);
        let answer = instance
            .shell(&self.host, &script, LIMIT)
            .with_context(|| format!("{} does not answer", self.host))?;
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(log) = self.log.through(self.mark, end)? {
                if has_tolerated_warning(&self.host, &log.text, expectations) {
                    self.tolerated |= health::WARNED;
                }
                let complaints = health::complaints(kernel, &answer, self.tolerated)?;
                return Ok((log, complaints));
            }
            if Instant::now() >= deadline {
                bail!("{end:?} does not reach the log of {}", self.host);
            }
            thread::sleep(POLL);
        }
    }

    /// All that is wrong: `complaints`, and what `log` shows, up to the end of which the log has then been looked through.
    fn complain(
        &mut self,
        log: &Stretch,
        expectations: &[Expectation],
        mut complaints: Vec<String>,
    ) -> Option<String> {
        self.mark = log.end;
        complaints.extend(troubles(&self.host, &log.text, expectations));
        let said = complaints.join("\n...\n");
        (!said.is_empty()).then(|| format!("kernel log of {}:\n{said}", self.host))
    }
}

/// Fails with the complaints about all hosts.
fn complain_of(looked: impl Iterator<Item = Result<Option<String>>>) -> Result<()> {
    let complaints: Vec<String> = looked
        .filter_map(|complaint| complaint.unwrap_or_else(|error| Some(format!("{error:#}"))))
        .collect();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_the_last_word_is_left_out() {
        let log = "<6>[    1.0] a\n<0>[    2.0] reboot: Power down\n<4>[    2.1] WARNING: b\n";
        assert_eq!(until_off(log), "<6>[    1.0] a\n");
        assert_eq!(until_off("<0>[    2.0] reboot: Power down\n"), "");
        assert_eq!(until_off("<6>[    1.0] a\n"), "<6>[    1.0] a\n");
    }
}
