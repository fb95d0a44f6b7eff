// SPDX-License-Identifier: GPL-2.0

//! What was found, for people.

use std::io;
use std::io::Write;

use anstyle::Style;
use textwrap::Options;
use textwrap::WordSplitter;

use super::finding::Finding;
use super::finding::Verdict;
use super::Check;
use super::Summary;
use crate::style::styled;
use crate::style::BAD;
use crate::style::DOUBTFUL;
use crate::style::FAINT;
use crate::style::GOOD;
use crate::style::HEADING;
use crate::style::WIDTH;

/// Where names of checks begin.
const NAME: usize = 10;
/// Where what was found begins.
const TEXT: usize = NAME + 18;

/// Writes what was found to `out`.
pub fn write(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    for finding in &check.findings {
        write_finding(finding, out)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", summary(&check.summary))
}

fn word(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Ok => ("ok", GOOD),
        Verdict::Warning => ("warning", DOUBTFUL),
        Verdict::Fault => ("FAULT", BAD),
        Verdict::NeedsRoot => ("root?", FAINT),
        Verdict::Unknown => ("unknown", DOUBTFUL),
        Verdict::Skipped => ("skipped", FAINT),
    }
}

fn write_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let (word, style) = word(finding.verdict);
    let word = styled(style, format!("{word:<NAME$}"));
    let name = styled(HEADING, format!("{:<1$}", finding.check, TEXT - NAME));
    let says = match &finding.subject {
        Some(subject) => format!("{subject}: {}", finding.says),
        None => finding.says.clone(),
    };
    let mut lines = wrap(&says).into_iter();
    writeln!(out, "{word}{name}{}", lines.next().unwrap_or_default())?;
    for line in lines {
        writeln!(out, "{:TEXT$}{line}", "")?;
    }
    if let Some(remedy) = &finding.remedy {
        for line in wrap(&remedy.text) {
            writeln!(out, "{:TEXT$}{}", "", styled(FAINT, line))?;
        }
        // Commands are copied: they stay in one line, and begin where there is room for long ones.
        for command in &remedy.commands {
            writeln!(out, "{:NAME$}$ {}", "", styled(HEADING, command))?;
        }
    }
    Ok(())
}

fn wrap(text: &str) -> Vec<String> {
    let options = Options::new(WIDTH - TEXT)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options).into_iter();
    lines.map(|line| line.into_owned()).collect()
}

fn summary(summary: &Summary) -> String {
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let mut parts = vec![
        plural(summary.faults, "fault"),
        plural(summary.warnings, "warning"),
        format!("{} ok", summary.ok),
    ];
    let rare = [
        (summary.unknown, "unknown"),
        (summary.needs_root, "only root can tell"),
        (summary.skipped, "skipped"),
    ];
    let rare = rare.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(rare.map(|(count, word)| format!("{count} {word}")));
    let style = match summary {
        Summary { faults: 1.., .. } => BAD,
        Summary { warnings: 1.., .. } | Summary { unknown: 1.., .. } => DOUBTFUL,
        _ => GOOD,
    };
    styled(style, parts.join(", ")).to_string()
}
