// SPDX-License-Identifier: GPL-2.0

//! How the tests of a run ended, and how long they took.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde::Serialize;

/// The slowest tests that are shown.
const SLOWEST: usize = 10;

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

/// How a test, or a part of it that was skipped, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What it checks is so.
    Pass,
    /// It is not.
    Fail,
    /// It could not be checked.
    Skip,
}

/// A test that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its suite.
    pub suite: String,
    /// Its name within the suite.
    pub test: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All tests that have ended.
#[derive(Clone, Debug, Default)]
pub struct Record {
    entries: Vec<Entry>,
}

impl Record {
    /// Adds a test.
    pub fn add(
        &mut self,
        suite: &str,
        test: &str,
        verdict: Verdict,
        took: Duration,
        reason: Option<String>,
    ) {
        self.entries.push(Entry {
            suite: suite.to_owned(),
            test: test.to_owned(),
            verdict,
            seconds: took.as_secs_f64(),
            reason,
        });
    }

    /// How many ended how.
    pub fn tally(&self) -> Tally {
        let count = |verdict| {
            let entries = self.entries.iter().filter(|entry| entry.verdict == verdict);
            u32::try_from(entries.count()).unwrap_or(u32::MAX)
        };
        Tally {
            passed: count(Verdict::Pass),
            failed: count(Verdict::Fail),
            skipped: count(Verdict::Skip),
        }
    }

    /// Whether the test named `test` was run in `suite`, or in any.
    pub fn has_run(&self, suite: Option<&str>, test: &str) -> bool {
        let of = |entry: &&Entry| suite.is_none_or(|suite| entry.suite == suite);
        let mut entries = self.entries.iter().filter(of);
        entries.any(|entry| entry.test == test && entry.verdict == Verdict::Pass)
    }

    /// Writes all of it to the file `path`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.entries).context("encode the results")?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// What took how long: the suites in the order in which they ran, and the slowest tests.
    pub fn times(&self) -> String {
        let mut suites: Vec<(&str, f64)> = Vec::new();
        for entry in &self.entries {
            match suites.iter_mut().find(|(name, _)| *name == entry.suite) {
                Some((_, seconds)) => *seconds += entry.seconds,
                None => suites.push((&entry.suite, entry.seconds)),
            }
        }
        let mut slowest: Vec<&Entry> = self.entries.iter().collect();
        slowest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let suites = suites.iter().map(|(name, time)| line(time, name));
        let slowest = slowest.iter().take(SLOWEST).map(|entry| {
            let name = format!("{}/{}", entry.suite, entry.test);
            line(&entry.seconds, &name)
        });
        let heading = |text: &str| format!("{text}\n");
        [heading("seconds of each suite:")]
            .into_iter()
            .chain(suites)
            .chain([heading("seconds of the slowest tests:")])
            .chain(slowest)
            .collect()
    }
}

fn line(seconds: &f64, name: &str) -> String {
    format!("{seconds:8.1}  {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::default();
        let mut add = |suite, test, verdict, seconds| {
            record.add(suite, test, verdict, Duration::from_secs(seconds), None);
        };
        add("one", "boot", Verdict::Pass, 10);
        add("one", "x", Verdict::Fail, 30);
        add("two", "x", Verdict::Pass, 20);
        add("two", "x/part", Verdict::Skip, 0);
        record
    }

    #[test]
    fn the_last_line_is_plain() {
        assert_eq!(
            record().tally().to_string(),
            "2 passed, 1 failed, 1 skipped"
        );
    }

    #[test]
    fn tests_that_have_run_are_known() {
        let record = record();
        assert!(record.has_run(Some("two"), "x") && record.has_run(None, "x"));
        assert!(!record.has_run(Some("one"), "x") && !record.has_run(None, "y"));
    }

    #[test]
    fn times_are_summed_and_sorted() {
        let times = record().times();
        let lines: Vec<&str> = times.lines().map(str::trim).collect();
        assert_eq!(lines[1..3], ["40.0  one", "20.0  two"]);
        assert_eq!(lines[4..6], ["30.0  one/x", "20.0  two/x"]);
    }

    #[test]
    fn results_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.json");
        record().write(&path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[1]["verdict"], "fail");
        assert_eq!(value[1]["seconds"], 30.0);
    }
}
