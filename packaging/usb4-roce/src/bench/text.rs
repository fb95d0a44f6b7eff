// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people.

use std::io;
use std::io::Write;

use textwrap::Options;
use textwrap::WordSplitter;

use super::plan::Metric;
use super::Bench;
use super::Link;
use super::TestResult;
use crate::style::styled;
use crate::style::BAD;
use crate::style::FAINT;
use crate::style::HEADING;
use crate::style::WIDTH;

/// The longest name of a test, and a gap.
const NAME: usize = 38;

/// Writes a result.
pub fn write_result(result: &TestResult, link: &Link, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{:<NAME$}", result.test.to_string())?;
    if let Some(error) = &result.error {
        return writeln!(out, "{}", styled(BAD, error));
    }
    match result.test.metric {
        Metric::Bandwidth | Metric::BothWays => {
            write!(out, "{:>8.1} Gb/s", result.gbps.unwrap_or_default())?;
            if let Some(share) = result.share_of(link) {
                const PERCENT: f64 = 100.0;
                write!(out, "   {:>3.0} % of the link", share * PERCENT)?;
            }
        }
        Metric::Latency => {
            write!(out, "{:>8.1} us", result.typical_us.unwrap_or_default())?;
            if let Some(p99) = result.p99_us {
                write!(out, "     99 % below {p99:.1} us")?;
            }
        }
    }
    writeln!(out)
}

/// Writes what was measured over, and what may help.
pub fn write_end(bench: &Bench, out: &mut dyn Write) -> io::Result<()> {
    let link = &bench.link;
    let cables = match &link.cables[..] {
        [] => "cables of unknown speed".to_owned(),
        [one] => format!("one cable, {one}"),
        cables => format!("{} cables, {}", cables.len(), cables.join(" + ")),
    };
    let note = "of which protocols leave less to data";
    let text = format!(
        "The link: {cables}, {} Gb/s each way, {note}; {} rails.",
        link.gbps, link.rails
    );
    writeln!(out, "\n{}", styled(FAINT, text))?;
    if bench.advice.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", styled(HEADING, "What may help"))?;
    for advice in &bench.advice {
        let options = Options::new(WIDTH)
            .initial_indent("- ")
            .subsequent_indent("  ")
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation);
        for line in textwrap::wrap(advice, options) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
