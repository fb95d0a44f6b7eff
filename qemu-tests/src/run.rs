// SPDX-License-Identifier: GPL-2.0

//! A test run: boots a lab for each suite, runs its tests, looks through the kernel logs, and counts.

use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Result;

use crate::building::run_directory::RunDirectory;
use crate::building::workbench::Workbench;
use crate::hosts::extent::Extent;
use crate::hosts::instance::Instance;
use crate::hosts::kernel_log::both;
use crate::hosts::kernel_log::Watch;
use crate::hosts::shape::Shape;
use crate::hosts::stage::Skip;
use crate::hosts::stage::Stage;
use crate::suite::packaging::INSTALLED;
use crate::suite::Lab;
use crate::suite::Outcome;
use crate::suite::Subject;
use crate::suite::Suite;
use crate::suite::Test;

mod contract;
mod inquest;
mod record;

use contract::Contract;
use record::Record;
use record::Tally;
use record::Verdict;

/// What comes before the tests of a suite, as if it were one.
const BOOT: &str = "boot";

/// What comes behind them.
const POWER_OFF: &str = "power-off";

/// The results in the directory of a run.
const RESULTS: &str = "results.json";

/// A run.
pub struct Run<'a> {
    workbench: &'a Workbench,
    extent: Extent,
    contract: Contract,
    directory: RunDirectory,
    record: Record,
    labs: u32,
}

/// Whether the test with the name `suite/name` is one that `filters` are for.
pub fn is_wanted(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
}

/// A lab under test.
struct UnderTest {
    instance: Instance,
    watch: Watch,
}

/// What a test leaves of the lab.
enum Left {
    /// All of it.
    Fit,
    /// A lab that can only be powered off.
    Spent,
    /// A lab of which nothing is known.
    Unknown,
}

/// How a test ended, and what it has told.
struct Ended {
    outcome: Result<Outcome>,
    skips: Vec<Skip>,
}

impl From<Result<Outcome>> for Ended {
    fn from(outcome: Result<Outcome>) -> Self {
        Self {
            outcome,
            skips: Vec::new(),
        }
    }
}

impl<'a> Run<'a> {
    /// A run which keeps its logs in a directory of its own.
    pub fn new(workbench: &'a Workbench, extent: Extent) -> Result<Self> {
        Ok(Self {
            workbench,
            extent,
            contract: Contract::of_checkout()?,
            directory: RunDirectory::new(workbench.cache())?,
            record: Record::default(),
            labs: 0,
        })
    }

    /// Where the logs are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the tests of `suites` whose `suite/name` contains one of `filters`, or all if there is none.
    pub fn suites(mut self, suites: &[Suite], filters: &[String]) -> Result<Tally> {
        let mut chosen = Vec::new();
        for suite in suites {
            let wanted =
                |test: &&Test| is_wanted(&format!("{}/{}", suite.name, test.name), filters);
            let tests: Vec<&Test> = suite.tests.iter().filter(wanted).collect();
            if !tests.is_empty() {
                chosen.push((suite, tests));
            }
        }
        if chosen.is_empty() {
            bail!("no test matches any of {filters:?}; `lab test --list` shows all");
        }
        let mut lab = None;
        for (number, (suite, tests)) in chosen.iter().enumerate() {
            lab = self.suite(suite, tests, lab);
            let next = chosen.get(number + 1);
            if !next.is_some_and(|(next, _)| suite.lab == next.lab) {
                if let Some(running) = lab.take() {
                    self.power_off(suite, running);
                }
            }
        }
        println!("{}", self.record.times());
        for unused in self
            .contract
            .unused(|suite, test| self.record.has_run(suite, test))
        {
            println!("note  {unused} may be skipped, and was not");
        }
        Ok(self.record.tally())
    }

    /// Runs the tests of a suite in `lab`, which has served others, or in a new one; gives it back if it can serve more.
    fn suite(
        &mut self,
        suite: &Suite,
        tests: &[&Test],
        mut lab: Option<UnderTest>,
    ) -> Option<UnderTest> {
        for (number, test) in tests.iter().enumerate() {
            let running = match lab.take() {
                Some(running) => running,
                None => match self.boot(suite) {
                    Ok(running) => running,
                    Err(()) => {
                        for missed in &tests[number..] {
                            let why = Err(anyhow!("not run: the lab is not up"));
                            self.report(suite, missed.name, Duration::ZERO, why.into());
                        }
                        return None;
                    }
                },
            };
            lab = self.test(suite, test, running);
        }
        lab
    }

    /// Boots and prepares a lab. A failure has been reported.
    fn boot(&mut self, suite: &Suite) -> Result<UnderTest, ()> {
        let began = self.begin(suite, BOOT);
        self.labs += 1;
        let (ended, running) = match self.try_boot(suite) {
            Ok((running, skips)) => {
                let outcome = Ok(Outcome::Passed);
                (Ended { outcome, skips }, Ok(running))
            }
            Err(error) => (Err(error).into(), Err(())),
        };
        self.report(suite, BOOT, began.elapsed(), ended);
        running
    }

    fn try_boot(&self, suite: &Suite) -> Result<(UnderTest, Vec<Skip>)> {
        let name = format!("test-{}", std::process::id());
        let provided = self.provided(suite)?;
        let Lab {
            fabric,
            kernel,
            processor,
            cpus,
            subject,
            ..
        } = suite.lab;
        let shape = Shape {
            fabric,
            kernel,
            processor,
            cpus,
            addition: subject.addition(),
            ..Shape::pair(&name)
        };
        let instance = Instance::up(self.workbench, &shape).inspect_err(|_| {
            let instances = self.workbench.cache().instances();
            let prefix = self.prefix(suite);
            // Without logs there was nothing that could have come up.
            let _ = Instance::keep_logs_of(&instances, &name, self.directory(), &prefix);
        })?;
        let mut running = UnderTest {
            watch: Watch::new(&instance, kernel),
            instance,
        };
        let prepared = (|| {
            let stage = self.stage(suite, BOOT, &running.instance)?;
            for source in &provided {
                stage.provide(source, &shared_name(suite.lab.subject, source))?;
            }
            (suite.lab.prepare)(&stage)?;
            let told = stage.into_told();
            running
                .watch
                .look(&running.instance, BOOT, &told.expectations)?;
            running.watch.check_checkers()?;
            Ok(told.skips)
        })();
        match prepared {
            Ok(skips) => Ok((running, skips)),
            Err(error) => {
                self.discard(suite, running);
                Err(error)
            }
        }
    }

    fn stage<'s>(&self, suite: &Suite, test: &str, instance: &'s Instance) -> Result<Stage<'s>> {
        Stage::new(instance, self.extent, &self.log_of(suite, test))
    }

    /// Files and directories for the share.
    fn provided(&self, suite: &Suite) -> Result<Vec<PathBuf>> {
        Ok(match suite.lab.subject {
            Subject::Drivers => Vec::new(),
            Subject::Module => {
                let mut files = self.workbench.subject(suite.lab.kernel)?;
                files.push(self.workbench.tools()?.hostile_peer.clone());
                files
            }
            Subject::Conformance => {
                let mut files = self.workbench.module(suite.lab.kernel)?;
                files.extend(self.workbench.conformance()?);
                files
            }
            Subject::Containers => {
                let mut files = self.workbench.subject(suite.lab.kernel)?;
                files.extend(self.workbench.containers()?);
                files
            }
            Subject::Programs(addition) => {
                let mut files = self.workbench.module(suite.lab.kernel)?;
                files.extend(self.workbench.programs(addition)?);
                files
            }
            Subject::Package => vec![self.workbench.package()?.directory],
            Subject::UserTool => {
                let mut files = self.workbench.module(suite.lab.kernel)?;
                files.push(self.workbench.user_tool()?);
                files
            }
            Subject::DebianPackages => {
                let mut files = self.workbench.debian(suite.lab.kernel)?.files()?;
                files.extend(self.workbench.clients()?.files());
                files
            }
            Subject::Dkms => {
                let mut files = self.workbench.dkms()?;
                files.extend(self.workbench.clients()?.files());
                files
            }
        })
    }

    /// Runs one test; gives the lab back if it can serve the next one.
    fn test(&mut self, suite: &Suite, test: &Test, mut running: UnderTest) -> Option<UnderTest> {
        let began = self.begin(suite, test.name);
        let mut ended = match self.stage(suite, test.name, &running.instance) {
            Ok(stage) => {
                let outcome = within_limit(test, &stage, &running.instance)
                    .inspect_err(|_| inquest::hold(&stage));
                let told = stage.into_told();
                let looked = running
                    .watch
                    .look(&running.instance, test.name, &told.expectations);
                Ended {
                    outcome: both(outcome, looked),
                    skips: told.skips,
                }
            }
            Err(error) => Err(error).into(),
        };
        self.judge_skips(suite, test.name, &mut ended);
        let left = match &ended.outcome {
            Ok(Outcome::Passed) => Left::Fit,
            Ok(Outcome::PassedAndSpent) => Left::Spent,
            Err(_) => Left::Unknown,
        };
        self.report(suite, test.name, began.elapsed(), ended);
        match left {
            Left::Fit => return Some(running),
            Left::Spent => self.power_off(suite, running),
            // What a failed test leaves behind must not fail the next one.
            Left::Unknown => self.discard(suite, running),
        }
        None
    }

    /// A skip that is not allowed is a failure.
    fn judge_skips(&mut self, suite: &Suite, test: &str, ended: &mut Ended) {
        let mut forbidden = Vec::new();
        for Skip { part, reason } in &ended.skips {
            if !self.contract.allows(suite.name, &format!("{test}/{part}")) {
                forbidden.push(format!("{test}/{part}: {reason}"));
            }
        }
        if ended.outcome.is_ok() && !forbidden.is_empty() {
            let skips = forbidden.join("\n");
            ended.outcome = Err(anyhow!("skipped, which is not allowed:\n{skips}"));
            ended.skips.clear();
        }
    }

    fn power_off(&mut self, suite: &Suite, mut running: UnderTest) {
        let began = self.begin(suite, POWER_OFF);
        let outcome = (|| {
            running.watch.look_for_leaks(&running.instance)?;
            let ended = running.instance.power_off();
            both(ended, running.watch.look_at_end())
        })();
        let ended = outcome.map(|()| Outcome::Passed).into();
        self.report(suite, POWER_OFF, began.elapsed(), ended);
        self.discard(suite, running);
    }

    /// Ends a lab, keeping its logs.
    fn discard(&self, suite: &Suite, running: UnderTest) {
        running.instance.kill();
        let prefix = self.prefix(suite);
        let kept = running.instance.keep_logs(self.directory(), &prefix);
        let removed = kept.and_then(|()| running.instance.remove());
        if let Err(error) = removed {
            eprintln!("lab: {error:#}");
        }
    }

    /// What the names of the logs of the present lab begin with.
    fn prefix(&self, suite: &Suite) -> String {
        format!("{}-lab{}", suite.name, self.labs)
    }

    fn log_of(&self, suite: &Suite, test: &str) -> PathBuf {
        self.directory().join(format!("{}-{test}.log", suite.name))
    }

    /// Says that a test begins, and when it does.
    fn begin(&self, suite: &Suite, test: &str) -> Instant {
        println!("begin {}/{test}", suite.name);
        Instant::now()
    }

    fn report(&mut self, suite: &Suite, test: &str, took: Duration, ended: Ended) {
        let name = format!("{}/{test}", suite.name);
        let seconds = took.as_secs_f64();
        let (verdict, reason) = match ended.outcome {
            Ok(Outcome::Passed | Outcome::PassedAndSpent) => {
                println!("pass  {name} ({seconds:.1} s)");
                (Verdict::Pass, None)
            }
            Err(error) => {
                println!("FAIL  {name} ({seconds:.1} s)");
                let reason = format!("{error:#}");
                for line in reason.lines() {
                    println!("      {line}");
                }
                println!(
                    "      what the test did: {}",
                    self.log_of(suite, test).display()
                );
                println!(
                    "      logs of hosts and cables: {}/{}-*.log",
                    self.directory().display(),
                    self.prefix(suite)
                );
                (Verdict::Fail, Some(reason))
            }
        };
        self.record.add(suite.name, test, verdict, took, reason);
        for Skip { part, reason } in ended.skips {
            println!("skip  {name}/{part}: {reason}");
            let part = format!("{test}/{part}");
            let none = Duration::ZERO;
            self.record
                .add(suite.name, &part, Verdict::Skip, none, Some(reason));
        }
        if let Err(error) = self.record.write(&self.directory().join(RESULTS)) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// The name which `source` has in the share.
fn shared_name(subject: Subject, source: &Path) -> String {
    match subject {
        Subject::Package => INSTALLED.to_owned(),
        Subject::Drivers
        | Subject::Module
        | Subject::Conformance
        | Subject::Containers
        | Subject::UserTool
        | Subject::DebianPackages
        | Subject::Dkms
        | Subject::Programs(_) => {
            let name = source.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        }
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
