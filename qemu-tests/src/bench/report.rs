// SPDX-License-Identifier: GPL-2.0

//! The results, for people and for programs.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::Table;
use serde_json::json;

use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::spread::Spread;
use super::target;
use super::target::size;
use super::target::Goal;
use super::CPUS;

/// Writes all measurements as JSON into `directory`.
pub fn write(figures: &Figures, directory: &Path) -> Result<()> {
    let targets: Vec<_> = target::all(figures)
        .iter()
        .map(|target| {
            let (least, most) = match target.goal {
                Goal::AtLeast(least) => (Some(least), None),
                Goal::AtMost(most) => (None, Some(most)),
            };
            json!({
                "target": target.what,
                "at_least": least,
                "at_most": most,
                "found": target.found,
                "reached": target.found.map(|found| target.goal.met(found.median)),
            })
        })
        .collect();
    let figures: Vec<_> = figures.all().collect();
    let report = json!({ "cpus": CPUS, "figures": figures, "targets": targets });
    let text = serde_json::to_string_pretty(&report).context("encode the results")?;
    let path = directory.join("results.json");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// All tables.
pub fn tables(figures: &Figures) -> String {
    let titles = [
        (Metric::Bandwidth, "Bandwidth in MB/s"),
        (Metric::Latency, "Latency in us: one way, READ: round trip"),
        (
            Metric::Instructions,
            "Thousands of instructions per message, both hosts",
        ),
    ];
    let mut text = format!(
        "Two hosts, CPUs of each: {CPUS}. Medians of the repeats, and the range they lie in\n\n"
    );
    for (metric, title) in titles {
        text += &format!("{title}\n{}\n\n", by_size(figures, metric));
    }
    text += &format!(
        "1 MiB messages, payload in % of what the cables let through\n{}\n\n",
        by_cables(figures)
    );
    text + &format!("Targets\n{}", targets(figures))
}

/// A table of one metric: a row for each way of moving messages, a column for each size.
fn by_size(figures: &Figures, metric: Metric) -> Table {
    let found: Vec<_> = figures
        .all()
        .filter(|figure| figure.subject.metric == metric)
        .collect();
    let mut sizes: Vec<u64> = found.iter().map(|figure| figure.subject.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut rows: Vec<(Transport, u32, Verb)> = found
        .iter()
        .map(|figure| {
            let Subject {
                transport,
                qps,
                verb,
                ..
            } = figure.subject;
            (transport, qps, verb)
        })
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let heads = sizes.iter().map(|bytes| size(*bytes));
    table.set_header(std::iter::once(String::new()).chain(heads));
    for (transport, qps, verb) in rows {
        let name = way(transport, verb, qps);
        let cells = sizes.iter().map(|&bytes| {
            let subject = Subject {
                metric,
                cables: Cables::One,
                transport,
                verb,
                bytes,
                qps,
            };
            let found = figures.spread(subject);
            found.map_or_else(String::new, |found| cell(metric, found))
        });
        table.add_row(std::iter::once(name).chain(cells));
    }
    table
}

/// A row for each way of capping cables.
fn by_cables(figures: &Figures) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let goodput = |metric| metric == Metric::Goodput;
    for figure in figures
        .all()
        .filter(|figure| goodput(figure.subject.metric))
    {
        let Subject {
            transport,
            verb,
            cables,
            ..
        } = figure.subject;
        table.add_row([
            cables.name().to_owned(),
            way(transport, verb, 1),
            cell(Metric::Goodput, figure.spread),
        ]);
    }
    table
}

/// A way of moving messages, for people.
pub fn way(transport: Transport, verb: Verb, qps: u32) -> String {
    let mut name = transport.name().to_owned();
    if verb != Verb::Bytes {
        name = format!("{name} {}", verb.name());
    }
    if qps > 1 {
        name = format!("{name}, {qps} QPs");
    }
    name
}

fn cell(metric: Metric, found: Spread) -> String {
    let (factor, decimals) = match metric {
        Metric::Bandwidth => (1e-6, 2),
        Metric::Goodput => (100.0, 1),
        Metric::Latency => (1.0, 0),
        Metric::Instructions => (1e-3, 1),
    };
    ranged(found.scaled(factor), decimals)
}

/// The median, and the range about it if there is one.
pub fn ranged(found: Spread, decimals: usize) -> String {
    let number = |value: f64| format!("{value:.decimals$}");
    let Spread { min, median, max } = found;
    if number(min) == number(max) {
        return number(median);
    }
    format!("{} ({}..{})", number(median), number(min), number(max))
}

fn targets(figures: &Figures) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["", "target", "measured", ""]);
    for target in target::all(figures) {
        let goal = match target.goal {
            Goal::AtLeast(least) => format!(">= {least:.2}"),
            Goal::AtMost(most) => format!("<= {most:.2}"),
        };
        let (found, verdict) = match target.found {
            None => ("not measured".to_owned(), ""),
            Some(found) => {
                let verdict = match target.goal.met(found.median) {
                    true => "reached",
                    false => "NOT REACHED",
                };
                (ranged(found, 2), verdict)
            }
        };
        table.add_row([target.what, goal, found, verdict.to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_show_medians_ranges_and_verdicts() {
        let mut figures = Figures::default();
        for (transport, verb, value) in [
            (Transport::Roce, Verb::Write, 42e6),
            (Transport::Roce, Verb::Write, 41e6),
            (Transport::Roce, Verb::Write, 48e6),
            (Transport::Stream, Verb::Bytes, 100e6),
        ] {
            let subject = Subject {
                metric: Metric::Bandwidth,
                cables: Cables::One,
                transport,
                verb,
                bytes: 1 << 20,
                qps: 1,
            };
            figures.add(subject, value);
        }
        let text = tables(&figures);
        assert!(text.contains("42.00 (41.00..48.00)"), "{text}");
        assert!(text.contains("NOT REACHED"), "{text}");
        assert!(text.contains("not measured"), "{text}");
    }

    #[test]
    fn a_range_that_rounds_to_one_number_is_one() {
        let found = Spread::of(&[0.9991, 0.9993, 0.9994]).unwrap();
        assert_eq!(ranged(found, 2), "1.00");
        assert_eq!(ranged(found, 4), "0.9993 (0.9991..0.9994)");
    }
}
