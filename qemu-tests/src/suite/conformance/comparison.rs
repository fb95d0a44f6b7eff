// SPDX-License-Identifier: GPL-2.0

//! How the tests ended on both devices, side by side.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use anyhow::Result;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::Table;
use serde_json::json;

use super::finding::Finding;
use super::finding::Verdict;
use crate::suite::both_devices::Device;

/// Longest excerpt of a program's words in a table, in characters.
const EXCERPT: usize = 110;

/// What has no finding.
const NONE: &str = "-";

/// The findings by test.
#[derive(Default)]
pub struct Comparison {
    findings: BTreeMap<String, BTreeMap<Device, Finding>>,
    /// The tests in the order in which they ran first.
    order: Vec<String>,
}

impl Comparison {
    /// Adds how the test `name` ended on `device`.
    pub fn add(&mut self, device: Device, name: &str, finding: Finding) {
        if !self.findings.contains_key(name) {
            self.order.push(name.to_owned());
        }
        let of_test = self.findings.entry(name.to_owned()).or_default();
        of_test.insert(device, finding);
    }

    /// How the tests ended on `device`, by their names.
    pub fn on(&self, device: Device) -> impl Iterator<Item = (&str, &Finding)> {
        let findings = self.findings.iter();
        findings.filter_map(move |(name, found)| Some((name.as_str(), found.get(&device)?)))
    }

    /// How the test `name` ended on `device`.
    pub fn finding(&self, device: Device, name: &str) -> Option<&Finding> {
        self.findings.get(name)?.get(&device)
    }

    /// How many ended so on `device`.
    pub fn count(&self, device: Device, verdict: Verdict) -> usize {
        let of_device = self.on(device);
        of_device
            .filter(|(_, finding)| finding.verdict == verdict)
            .count()
    }

    /// Whether any hung.
    pub fn has_hung(&self) -> bool {
        let hung = |device: Device| self.count(device, Verdict::Hang) > 0;
        Device::ALL.into_iter().any(hung)
    }

    fn verdict(&self, device: Device, name: &str) -> Option<Verdict> {
        Some(self.finding(device, name)?.verdict)
    }

    /// The tests that rxe passes and usb4_roce does not.
    fn behind_rxe(&self) -> Vec<&str> {
        let names = self.order.iter().map(String::as_str);
        names
            .filter(|name| {
                self.verdict(Device::Rxe, name) == Some(Verdict::Pass)
                    && self.verdict(Device::Usb4Roce, name) != Some(Verdict::Pass)
            })
            .collect()
    }

    /// How many ended how.
    fn counts(&self) -> Table {
        let mut table = markdown_table();
        let verdicts = Verdict::ALL.iter().map(|verdict| verdict.name().to_owned());
        table.set_header(std::iter::once("device".to_owned()).chain(verdicts));
        for device in Device::ALL {
            let counts = Verdict::ALL
                .iter()
                .map(|verdict| self.count(device, *verdict).to_string());
            table.add_row(std::iter::once(device.name().to_owned()).chain(counts));
        }
        table
    }

    /// Test by test.
    fn rows(&self) -> Table {
        let mut table = markdown_table();
        let devices = Device::ALL.map(Device::name);
        table.set_header(std::iter::once("test").chain(devices));
        for name in &self.order {
            let cells = Device::ALL.map(|device| match self.finding(device, name) {
                Some(finding) => cell(&finding.to_string()),
                None => NONE.to_owned(),
            });
            table.add_row(std::iter::once(cell(name)).chain(cells));
        }
        table
    }

    /// A summary of the tests of the programs named `name`, then all of them.
    pub fn markdown(&self, name: &str) -> String {
        let mut text = format!("## {name}\n\n{}\n\n", self.counts());
        let behind = self.behind_rxe();
        if !behind.is_empty() {
            text += &format!(
                "What rxe passes and usb4_roce does not ({}):\n\n",
                behind.len()
            );
            for name in behind {
                let found = self.finding(Device::Usb4Roce, name);
                let found = found.map_or(NONE.to_owned(), |finding| cell(&finding.to_string()));
                text += &format!("- `{name}`: {found}\n");
            }
            text += "\n";
        }
        text + &format!("{}\n", self.rows())
    }

    /// Everything, for programs.
    pub fn json(&self) -> Result<String> {
        let tests = self.order.iter().map(|name| {
            let found = Device::ALL.map(|device| self.finding(device, name));
            json!({
                "test": name,
                Device::Usb4Roce.name(): found[0],
                Device::Rxe.name(): found[1],
            })
        });
        let tests: Vec<_> = tests.collect();
        serde_json::to_string_pretty(&tests).context("encode the findings")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{}", self.rows(), self.counts())
    }
}

fn markdown_table() -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table
}

/// `text` as it fits into a cell.
fn cell(text: &str) -> String {
    let plain = text.replace('|', "/");
    let mut characters = plain.chars();
    let mut start: String = characters.by_ref().take(EXCERPT).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn finding(verdict: Verdict, words: &str) -> Finding {
        Finding {
            verdict,
            words: words.to_owned(),
            seconds: 1.0,
        }
    }

    #[test]
    fn what_only_rxe_passes_is_told() {
        let mut comparison = Comparison::default();
        comparison.add(Device::Usb4Roce, "x", finding(Verdict::Error, "no | way"));
        comparison.add(Device::Usb4Roce, "y", finding(Verdict::Pass, ""));
        comparison.add(Device::Rxe, "x", finding(Verdict::Pass, ""));
        comparison.add(Device::Rxe, "z", finding(Verdict::Pass, ""));
        assert_eq!(comparison.behind_rxe(), ["x", "z"]);
        let text = comparison.markdown("programs");
        assert!(
            text.contains("- `x`: error: no / way\n- `z`: -\n"),
            "{text}"
        );
        assert!(
            text.contains("| usb4_roce | 1    | 0    | 0    | 1 "),
            "{text}"
        );
    }

    #[test]
    fn long_words_are_cut() {
        let long = "ä".repeat(EXCERPT + 1);
        assert_eq!(cell(&long).chars().count(), EXCERPT + 1);
        assert!(cell(&long).ends_with('…'));
        assert_eq!(cell("short"), "short");
    }
}
