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
use super::lane::Lane;
use super::part::Part;
use super::spread::Spread;
use super::target;
use super::target::size;
use super::target::Form;
use super::target::Goal;

/// Writes all measurements, and the targets of the `parts` that were run, as JSON into `directory`.
pub fn write(figures: &Figures, lane: Lane, parts: &[Part], directory: &Path) -> Result<()> {
    let targets: Vec<_> = target::all(figures, lane.cpus(), parts)
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
                "verdict": target.verdict().name(),
            })
        })
        .collect();
    let figures: Vec<_> = figures.all().collect();
    let report = json!({
        "hosts": lane.name(),
        "cpus": lane.cpus(),
        "figures": figures,
        "targets": targets,
    });
    let text = serde_json::to_string_pretty(&report).context("encode the results")?;
    let path = directory.join("results.json");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// All tables of the `parts` that were run.
pub fn tables(figures: &Figures, lane: Lane, parts: &[Part]) -> String {
    let titles = [
        (Metric::Latency, "Latency in us: one way, READ: round trip"),
        (
            Metric::Rate,
            "Thousands of messages per second, 16 in flight on each QP",
        ),
        (Metric::Bandwidth, "Bandwidth in MB/s"),
        (
            Metric::Duplex,
            "Bandwidth in MB/s each way, in both at once",
        ),
        (Metric::AllReduce, "All-reduce, MB/s each way"),
        (
            Metric::Cpu,
            "CPU time of both hosts in us, for 4 KiB of payload",
        ),
        (
            Metric::Accesses,
            "Disks and files of another host, thousands of requests per second: at random places, 16 under way",
        ),
        (
            Metric::AccessBandwidth,
            "Disks and files of another host, MB/s: one place after the other, 4 requests under way",
        ),
        (
            Metric::AccessCpu,
            "Disks and files of another host, CPU time of both hosts in us for a request",
        ),
        (
            Metric::Instructions,
            "Thousands of instructions per message, both hosts",
        ),
    ];
    let mut text = format!(
        "Two hosts ({}), CPUs of each: {}. Medians of the repeats, and the range they lie in\n\n",
        lane.name(),
        lane.cpus()
    );
    for (metric, title) in titles {
        if figures.all().any(|figure| figure.subject.metric == metric) {
            text += &format!("{title}\n{}\n\n", by_size(figures, metric));
        }
    }
    let others = [
        ("CPU of a host with nothing to do, in %", idle(figures)),
        (
            "1 MiB messages, payload in % of what the cables let through",
            by_cables(figures),
        ),
        ("Targets", targets(figures, lane, parts)),
    ];
    for (title, table) in others {
        if !table.is_empty() {
            text += &format!("{title}\n{table}\n\n");
        }
    }
    text
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
                flows,
                verb,
                ..
            } = figure.subject;
            (transport, flows, verb)
        })
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let heads = sizes.iter().map(|bytes| size(*bytes));
    table.set_header(std::iter::once(String::new()).chain(heads));
    for (transport, flows, verb) in rows {
        let name = way(transport, verb, flows);
        let cells = sizes.iter().map(|&bytes| {
            let subject = Subject {
                metric,
                cables: Cables::One,
                transport,
                verb,
                bytes,
                flows,
            };
            let found = figures.spread(subject);
            found.map_or_else(String::new, |found| cell(metric, found))
        });
        table.add_row(std::iter::once(name).chain(cells));
    }
    table
}

/// A row for hosts with usb4_roce, and one for hosts without.
fn idle(figures: &Figures) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let rows = [
        (Metric::Idle, "usb4_roce, its rails up"),
        (Metric::IdleBare, "not loaded"),
    ];
    for (metric, name) in rows {
        if let Some(found) = figures.spread(Subject::idle(metric)) {
            table.add_row([name.to_owned(), cell(metric, found)]);
        }
    }
    table
}

/// A row for each way of capping cables.
fn by_cables(figures: &Figures) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let ways = |metric| match metric {
        Metric::Goodput => Some(""),
        Metric::DuplexGoodput => Some(", each way of both at once"),
        _ => None,
    };
    for figure in figures.all() {
        let Some(ways) = ways(figure.subject.metric) else {
            continue;
        };
        let Subject {
            metric,
            transport,
            verb,
            cables,
            ..
        } = figure.subject;
        table.add_row([
            cables.name().to_owned(),
            format!("{}{ways}", way(transport, verb, 1)),
            cell(metric, figure.spread),
        ]);
    }
    table
}

/// A way of moving messages, for people.
pub fn way(transport: Transport, verb: Verb, flows: u32) -> String {
    let mut name = transport.name().to_owned();
    if verb != Verb::Bytes {
        name = format!("{name} {}", verb.name());
    }
    match (flows, verb) {
        (1, _) => {}
        (_, Verb::Bytes) => name = format!("{name}, {flows} connections"),
        _ => name = format!("{name}, {flows} QPs"),
    }
    name
}

fn cell(metric: Metric, found: Spread) -> String {
    let (factor, decimals) = match metric {
        Metric::Bandwidth | Metric::Duplex | Metric::AllReduce | Metric::AccessBandwidth => {
            (1e-6, 1)
        }
        Metric::Rate | Metric::Accesses => (1e-3, 2),
        Metric::Cpu => (1e6, 2),
        Metric::Goodput | Metric::DuplexGoodput => (100.0, 1),
        Metric::Idle | Metric::IdleBare => (100.0, 2),
        Metric::AccessCpu => (1e6, 0),
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

fn targets(figures: &Figures, lane: Lane, parts: &[Part]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["", "target", "measured", ""]);
    for target in target::all(figures, lane.cpus(), parts) {
        let (sign, goal) = match target.goal {
            Goal::AtLeast(least) => (">=", least),
            Goal::AtMost(most) => ("<=", most),
        };
        let (goal, found) = match target.form {
            // An eighth has three decimals.
            Form::Times => (
                format!("{goal}"),
                target.found.map(|found| ranged(found, 3)),
            ),
            Form::Percent => (
                format!("{:.2} %", goal * 100.0),
                target
                    .found
                    .map(|found| format!("{} %", ranged(found.scaled(100.0), 2))),
            ),
        };
        table.add_row([
            target.what.clone(),
            format!("{sign} {goal}"),
            found.unwrap_or_default(),
            target.verdict().name().to_owned(),
        ]);
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
            let subject = Subject::new(Metric::Bandwidth, transport, verb, 1 << 20);
            figures.add(subject, value);
        }
        let text = tables(&figures, Lane::Qemu, &Part::ALL);
        assert!(text.contains("42.0 (41.0..48.0)"), "{text}");
        assert!(text.contains("NOT REACHED"), "{text}");
        assert!(text.contains("not measured"), "{text}");
    }

    #[test]
    fn capped_cables_have_a_row_for_one_way_and_one_for_both() {
        let mut figures = Figures::default();
        for (metric, share) in [(Metric::Goodput, 0.999), (Metric::DuplexGoodput, 0.91)] {
            let subject = Subject {
                cables: Cables::FourRings,
                ..Subject::new(metric, Transport::Roce, Verb::Write, 1 << 20)
            };
            figures.add(subject, share);
        }
        let text = by_cables(&figures).to_string();
        assert_eq!(text.matches(Cables::FourRings.name()).count(), 2, "{text}");
        let both = text.lines().find(|line| line.contains("both at once"));
        assert!(both.is_some_and(|line| line.contains("91.0")), "{text}");
    }

    #[test]
    fn a_range_that_rounds_to_one_number_is_one() {
        let found = Spread::of(&[0.9991, 0.9993, 0.9994]).unwrap();
        assert_eq!(ranged(found, 2), "1.00");
        assert_eq!(ranged(found, 4), "0.9993 (0.9991..0.9994)");
    }
}
