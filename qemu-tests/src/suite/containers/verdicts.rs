// SPDX-License-Identifier: GPL-2.0

//! How each of the things that a test tries has ended.

use std::fmt;

use anyhow::ensure;
use anyhow::Error;
use anyhow::Result;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::Table;

use crate::hosts::stage::Stage;
use crate::suite::Outcome;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Pass,
    /// By the error that it has to end with: what the program asks for cannot be done.
    Refused,
    /// That version of rdma-core does not have it.
    NotOffered,
    /// Otherwise.
    Fail,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Pass, Self::Refused, Self::NotOffered, Self::Fail];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Refused => "refused",
            Self::NotOffered => "not offered",
            Self::Fail => "fail",
        })
    }
}

/// One of them.
#[derive(Clone, Debug)]
struct Row {
    what: String,
    verdict: Verdict,
    words: String,
}

/// All that a test has tried.
#[derive(Default)]
pub struct Verdicts {
    rows: Vec<Row>,
}

impl Verdicts {
    /// Adds how `what` ended, and what was said then.
    pub fn add(&mut self, what: &str, verdict: Verdict, words: &str) {
        self.rows.push(Row {
            what: what.to_owned(),
            verdict,
            words: words.to_owned(),
        });
    }

    /// Adds `what`, which should pass, with the words that it ended with.
    pub fn judge(&mut self, what: &str, result: Result<String>) {
        match result {
            Ok(words) => self.add(what, Verdict::Pass, &words),
            Err(error) => self.fail(what, &error),
        }
    }

    /// Adds `what`, which has failed.
    pub fn fail(&mut self, what: &str, error: &Error) {
        self.add(what, Verdict::Fail, &format!("{error:#}"));
    }

    fn count(&self, verdict: Verdict) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.verdict == verdict).count()
    }

    /// How many ended how.
    fn counts(&self) -> String {
        let counts = Verdict::ALL.map(|verdict| format!("{} {verdict}", self.count(verdict)));
        counts.join(", ")
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN);
        table.set_header(["what", "verdict", "words"]);
        for row in &self.rows {
            // Of a failure that is told in many lines, the complaint has all.
            let words = row.words.lines().next().unwrap_or_default();
            table.add_row([&row.what, &row.verdict.to_string(), words]);
        }
        table
    }

    /// Shows all; fails if any has.
    pub fn conclude(&self, stage: &Stage<'_>) -> Result<Outcome> {
        println!("{}\n{}", self.table(), self.counts());
        stage.keep("md", &format!("{}\n", self.table()))?;
        let failures = self.failures();
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        ensure!(!self.rows.is_empty(), "nothing has been tried");
        Ok(Outcome::Passed)
    }

    fn failures(&self) -> Vec<String> {
        let rows = self.rows.iter();
        rows.filter(|row| row.verdict == Verdict::Fail)
            .map(|row| format!("{}: {}", row.what, row.words))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn failures_are_told_and_all_are_counted() {
        let mut verdicts = Verdicts::default();
        verdicts.judge("x", Ok(String::new()));
        verdicts.judge("y", Err(anyhow!("first\nsecond")));
        verdicts.add("z", Verdict::Refused, "");
        assert_eq!(verdicts.failures(), ["y: first\nsecond"]);
        assert_eq!(
            verdicts.counts(),
            "1 pass, 1 refused, 0 not offered, 1 fail"
        );
        assert!(!verdicts.table().to_string().contains("second"));
    }
}
