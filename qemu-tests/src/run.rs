// SPDX-License-Identifier: GPL-2.0

//! A test run: boots a lab for each suite, runs its tests, looks through the kernel logs, and counts.

use std::fmt;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use rustix::fs::flock;
use rustix::fs::FlockOperation;

use crate::cache::Cache;
use crate::host::console_log;
use crate::instance::Instance;
use crate::kernel_log::troubles;
use crate::kernel_log::KernelLog;
use crate::kernel_log::Mark;
use crate::stage::Stage;
use crate::suite::Outcome;
use crate::suite::Subject;
use crate::suite::Suite;
use crate::suite::Test;
use crate::within::Lifetime;
use crate::workbench::Counting;
use crate::workbench::Shape;
use crate::workbench::Workbench;
use crate::workbench::CPUS;
use crate::workbench::MEMORY_MIB;

/// Runs of which the logs are kept.
const KEPT_RUNS: usize = 10;

/// How long the kernel log's last lines may take to reach its file.
const LOG_LIMIT: Duration = Duration::from_secs(20);

/// Pause between two looks at the log.
const LOG_POLL: Duration = Duration::from_millis(20);

/// How long the two scans may take, with KASAN under TCG.
const LEAK_LIMIT: Duration = Duration::from_secs(300);

/// Looks for leaked memory where the kernel can tell. An object is reported in the second scan.
const LEAK_SCAN: &str = "\
leaks=/sys/kernel/debug/kmemleak
[ ! -e $leaks ] || { echo scan > $leaks; sleep 6; echo scan > $leaks; cat $leaks | tee /dev/kmsg; }";

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// A run.
pub struct Run<'a> {
    workbench: &'a Workbench,
    directory: PathBuf,
    /// Locked, so that other runs leave the directory alone.
    _claim: File,
    tally: Tally,
    labs: u32,
}

/// A lab under test, and how far its logs have been looked through.
struct UnderTest {
    instance: Instance,
    logs: Vec<(String, KernelLog, Mark)>,
}

impl<'a> Run<'a> {
    /// A run which keeps its logs in a directory of its own.
    pub fn new(workbench: &'a Workbench) -> Result<Self> {
        let (directory, claim) = new_directory(workbench.cache())?;
        Ok(Self {
            workbench,
            directory,
            _claim: claim,
            tally: Tally::default(),
            labs: 0,
        })
    }

    /// Where the logs are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs the tests of `suites` whose `suite/name` contains `filter`.
    pub fn suites(mut self, suites: &[Suite], filter: &str) -> Result<Tally> {
        let mut found = false;
        for suite in suites {
            let chosen: Vec<&Test> = suite
                .tests
                .iter()
                .filter(|test| format!("{}/{}", suite.name, test.name).contains(filter))
                .collect();
            if !chosen.is_empty() {
                found = true;
                self.suite(suite, &chosen);
            }
        }
        if !found {
            bail!("no test matches {filter:?}; `lab test --list` shows all");
        }
        Ok(self.tally)
    }

    fn suite(&mut self, suite: &Suite, tests: &[&Test]) {
        let mut lab = None;
        for (number, test) in tests.iter().enumerate() {
            let running = match lab.take() {
                Some(running) => running,
                None => match self.boot(suite) {
                    Ok(running) => running,
                    Err(()) => {
                        for missed in &tests[number..] {
                            let why = Err(anyhow!("not run: the lab is not up"));
                            self.report(suite, missed.name, Duration::ZERO, why);
                        }
                        return;
                    }
                },
            };
            lab = self.test(suite, test, running);
        }
        if let Some(running) = lab {
            self.power_off(suite, running);
        }
    }

    /// Boots and prepares a lab. A failure has been reported.
    fn boot(&mut self, suite: &Suite) -> Result<UnderTest, ()> {
        let began = Instant::now();
        self.labs += 1;
        let outcome = self.try_boot(suite);
        let (outcome, running) = match outcome {
            Ok(running) => (Ok(Outcome::Passed), Ok(running)),
            Err(error) => (Err(error), Err(())),
        };
        self.report(suite, "boot", began.elapsed(), outcome);
        running
    }

    fn try_boot(&self, suite: &Suite) -> Result<UnderTest> {
        let name = format!("test-{}", std::process::id());
        let provided = self.provided(suite)?;
        let instance = self.workbench.up(&Shape {
            name: &name,
            fabric: suite.fabric,
            kernel: suite.kernel,
            processor: suite.processor,
            memory_mib: MEMORY_MIB,
            cpus: CPUS,
            counting: Counting::Off,
            lifetime: Lifetime::WithTheLab,
        })?;
        let names = instance.names();
        let logs = names.into_iter().map(|name| {
            let log = KernelLog::new(console_log(instance.directory(), &name));
            (name, log, KernelLog::start())
        });
        let mut running = UnderTest {
            logs: logs.collect(),
            instance,
        };
        let prepared = (|| {
            let stage = Stage::new(&running.instance, &self.log_of(suite, "boot"))?;
            for (source, name) in &provided {
                stage.provide(source, name)?;
            }
            (suite.prepare)(&stage)?;
            running.look("boot")
        })();
        if let Err(error) = prepared {
            self.discard(suite, running);
            return Err(error);
        }
        Ok(running)
    }

    /// Files for the share, and their names there.
    fn provided(&self, suite: &Suite) -> Result<Vec<(PathBuf, String)>> {
        match suite.subject {
            Subject::Drivers => Ok(Vec::new()),
            Subject::Module => {
                let mut files = self.workbench.modules(suite.kernel)?.files()?;
                files.extend(self.workbench.clients()?.files());
                Ok(files
                    .into_iter()
                    .map(|path| {
                        let name = path.file_name().unwrap_or_default();
                        let name = name.to_string_lossy().into_owned();
                        (path, name)
                    })
                    .collect())
            }
        }
    }

    /// Runs one test; gives the lab back if it can serve the next one.
    fn test(&mut self, suite: &Suite, test: &Test, mut running: UnderTest) -> Option<UnderTest> {
        let began = Instant::now();
        let log = self.log_of(suite, test.name);
        let mut outcome = Stage::new(&running.instance, &log)
            .and_then(|stage| within_limit(test, &stage, &running.instance));
        if let Err(trouble) = running.look(test.name) {
            // A kernel in trouble explains a failed test better than the test does.
            outcome = Err(match outcome {
                Ok(_) => trouble,
                Err(error) => trouble.context(format!("{error:#}")),
            });
        }
        let failed = outcome.is_err();
        self.report(suite, test.name, began.elapsed(), outcome);
        if failed {
            // What a failed test leaves behind must not fail the next one.
            self.discard(suite, running);
            return None;
        }
        Some(running)
    }

    fn power_off(&mut self, suite: &Suite, mut running: UnderTest) {
        let began = Instant::now();
        let outcome = (|| {
            for name in running.instance.names() {
                running.instance.shell(&name, LEAK_SCAN, LEAK_LIMIT)?;
            }
            running.instance.power_off()?;
            running.look_at_end()?;
            Ok(Outcome::Passed)
        })();
        self.report(suite, "power-off", began.elapsed(), outcome);
        self.discard(suite, running);
    }

    /// Ends a lab, keeping its logs.
    fn discard(&self, suite: &Suite, running: UnderTest) {
        running.instance.kill();
        let kept = self.keep_logs(suite, running.instance.directory());
        let removed = kept.and_then(|()| running.instance.remove());
        if let Err(error) = removed {
            eprintln!("lab: {error:#}");
        }
    }

    fn keep_logs(&self, suite: &Suite, directory: &Path) -> Result<()> {
        for entry in
            fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?
        {
            let path = entry.context("list the logs")?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{}-lab{}-{name}", suite.name, self.labs);
                fs::copy(&path, self.directory.join(&name))
                    .with_context(|| format!("copy {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn log_of(&self, suite: &Suite, test: &str) -> PathBuf {
        self.directory.join(format!("{}-{test}.log", suite.name))
    }

    fn report(&mut self, suite: &Suite, test: &str, took: Duration, outcome: Result<Outcome>) {
        let name = format!("{}/{test}", suite.name);
        let seconds = took.as_secs_f64();
        match outcome {
            Ok(Outcome::Passed) => {
                self.tally.passed += 1;
                println!("pass  {name} ({seconds:.1} s)");
            }
            Ok(Outcome::Skipped(reason)) => {
                self.tally.skipped += 1;
                println!("skip  {name}: {reason}");
            }
            Err(error) => {
                self.tally.failed += 1;
                println!("FAIL  {name} ({seconds:.1} s)");
                for line in format!("{error:#}").lines() {
                    println!("      {line}");
                }
                println!(
                    "      what the test did: {}",
                    self.log_of(suite, test).display()
                );
                println!(
                    "      logs of hosts and cables: {}/{}-lab{}-*.log",
                    self.directory.display(),
                    suite.name,
                    self.labs
                );
            }
        }
    }
}

impl UnderTest {
    /// Waits until all of the kernels' messages are in the logs, and looks through what is new.
    fn look(&mut self, when: &str) -> Result<()> {
        for (host, log, mark) in &self.logs {
            let line = format!("lab: end of {when}");
            let script = format!("echo '{line}' > /dev/kmsg");
            // A guest that crashed has said all it will.
            if self.instance.shell(host, &script, LOG_LIMIT).is_ok() {
                let deadline = Instant::now() + LOG_LIMIT;
                while !log.since(*mark)?.contains(&line) && Instant::now() < deadline {
                    thread::sleep(LOG_POLL);
                }
            }
        }
        self.look_at_end()
    }

    /// Looks through what is new in the logs.
    fn look_at_end(&mut self) -> Result<()> {
        for (host, log, mark) in &mut self.logs {
            let new = log.since(*mark)?;
            *mark = log.mark()?;
            let found = troubles(&new);
            if !found.is_empty() {
                bail!("kernel log of {host}:\n{}", found.join("\n...\n"));
            }
        }
        Ok(())
    }
}

/// Runs `test`; a lab whose test does not end in time is killed.
///
/// The test runs in the caller's thread: hosts that it starts end with the thread that started them.
fn within_limit(test: &Test, stage: &Stage<'_>, instance: &Instance) -> Result<Outcome> {
    thread::scope(|scope| {
        let (ended, end) = mpsc::channel::<()>();
        let watchdog = scope.spawn(move || {
            let overdue = end.recv_timeout(test.limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if overdue {
                // Without its hosts the test cannot but end.
                instance.kill();
            }
            overdue
        });
        let outcome = (test.run)(stage);
        drop(ended);
        if !watchdog.join().unwrap_or(false) {
            return outcome;
        }
        let limit = test.limit.as_secs();
        match outcome {
            Err(error) => Err(error.context(format!("not done after {limit} s"))),
            Ok(_) => bail!("not done after {limit} s"),
        }
    })
}

/// A directory for the logs and results of a run, which is not removed as long as the file is open.
/// Those of old runs are removed.
pub fn new_directory(cache: &Cache) -> Result<(PathBuf, File)> {
    let runs = cache.runs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    let directory = runs.join(format!("{seconds}-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let claim = claim(&directory)?.with_context(|| format!("{} is in use", directory.display()))?;
    remove_old(&runs)?;
    Ok((directory, claim))
}

/// Locks the directory of a run; `None` if it belongs to one that still runs.
fn claim(directory: &Path) -> Result<Option<File>> {
    let file = File::open(directory).with_context(|| format!("open {}", directory.display()))?;
    let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(is_free.then_some(file))
}

/// Removes the logs of all but the newest runs, and of those that still run.
fn remove_old(runs: &Path) -> Result<()> {
    let entries = fs::read_dir(runs).with_context(|| format!("list {}", runs.display()))?;
    let mut found: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("list {}", runs.display()))?;
    // Their names begin with the time.
    found.sort();
    found.truncate(found.len().saturating_sub(KEPT_RUNS));
    for path in found {
        // Another run may be removing it just now.
        if let Ok(Some(_claim)) = claim(&path) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_plain() {
        let tally = Tally {
            passed: 12,
            failed: 0,
            skipped: 3,
        };
        assert_eq!(tally.to_string(), "12 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn only_old_runs_go() {
        let directory = tempfile::tempdir().unwrap();
        for second in 100..100 + KEPT_RUNS + 2 {
            fs::create_dir(directory.path().join(format!("{second}-1"))).unwrap();
        }
        let running = claim(&directory.path().join("100-1")).unwrap();
        assert!(running.is_some());
        remove_old(directory.path()).unwrap();
        assert!(directory.path().join("100-1").exists());
        assert!(!directory.path().join("101-1").exists());
        assert!(directory.path().join("102-1").exists());
    }
}
