// SPDX-License-Identifier: GPL-2.0

//! What may fail or be skipped on `usb4_roce`, and why; and how many tests have to pass at the least.

use std::collections::BTreeMap;
use std::fs;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use super::comparison::Comparison;
use super::finding::Verdict;
use crate::building::tool::checkout;
use crate::suite::both_devices::Device;

/// Where contracts are, in the checkout.
const DIRECTORY: &str = "qemu-tests/conformance";

/// What begins a comment.
const COMMENT: char = '#';

/// What begins a line that says how many tests have to pass.
const FLOOR: &str = "floor";

/// What a reason begins with that only repeats the program's words.
const UNEXPLAINED: &str = "unexplained:";

/// How a test ends, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    verdict: Verdict,
    reason: String,
}

/// A contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// The comments that it begins with.
    head: Vec<String>,
    floors: BTreeMap<Device, usize>,
    entries: BTreeMap<String, Entry>,
}

impl Contract {
    /// The checkout's contract for the programs named `name`. It is read when a test runs, so that nothing has to be built after it was
    /// changed.
    pub fn of_checkout(name: &str) -> Result<Self> {
        let path = checkout()?.join(DIRECTORY).join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut contract = Self::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(COMMENT) {
                if contract.floors.is_empty() {
                    contract.head.push(line.to_owned());
                }
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(kind), Some(name), Some(_)) = (words.next(), words.next(), words.next())
            else {
                bail!("{line:?} is neither VERDICT TEST REASON nor {FLOOR} DEVICE NUMBER");
            };
            let rest = after_words(line, 2);
            if kind == FLOOR {
                let mut devices = Device::ALL.into_iter();
                let device = devices.find(|device| device.name() == name);
                let device = device.with_context(|| format!("{name:?} is no device"))?;
                let floor = rest.parse().with_context(|| format!("{line:?}"))?;
                contract.floors.insert(device, floor);
                continue;
            }
            let entry = Entry {
                verdict: Verdict::named(kind)?,
                reason: rest.to_owned(),
            };
            if contract.entries.insert(name.to_owned(), entry).is_some() {
                bail!("{name} is listed twice");
            }
        }
        Ok(contract)
    }

    /// What is not as it says.
    pub fn complaints(&self, comparison: &Comparison) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, finding) in comparison.on(Device::Usb4Roce) {
            match self.entries.get(name) {
                None if finding.verdict == Verdict::Pass => {}
                None => complaints.push(format!("{name}: not listed, {finding}")),
                Some(entry) if entry.verdict == finding.verdict => {}
                Some(entry) => {
                    complaints.push(format!("{name}: listed as {}, {finding}", entry.verdict));
                }
            }
        }
        for name in self.entries.keys() {
            if comparison.finding(Device::Usb4Roce, name).is_none() {
                complaints.push(format!("{name}: listed, and there is no such test"));
            }
        }
        for (device, floor) in &self.floors {
            let passed = comparison.count(*device, Verdict::Pass);
            if passed < *floor {
                complaints.push(format!(
                    "{device} passes {passed} tests, of at least {floor}"
                ));
            }
        }
        complaints
    }

    /// The text of a contract that `comparison` keeps: what is listed already keeps its reason.
    pub fn renewed(&self, comparison: &Comparison) -> String {
        let mut text: String = self.head.iter().map(|line| format!("{line}\n")).collect();
        for (device, floor) in &self.floors {
            let floor = match device {
                Device::Usb4Roce => comparison.count(*device, Verdict::Pass),
                // It is no subject: that it passes about as many as ever shows that the programs run.
                Device::Rxe => *floor,
            };
            text += &format!("{FLOOR} {device} {floor}\n");
        }
        text.push('\n');
        for (name, finding) in comparison.on(Device::Usb4Roce) {
            if finding.verdict == Verdict::Pass {
                continue;
            }
            let reason = match self.entries.get(name) {
                Some(entry) => entry.reason.clone(),
                None => format!("{UNEXPLAINED} {}", finding.words),
            };
            text += &format!(
                "{:5} {name}  {}\n",
                finding.verdict.name(),
                reason.trim_end()
            );
        }
        text
    }
}

/// What is behind the first `count` words of `line`.
fn after_words(line: &str, count: usize) -> &str {
    (0..count).fold(line, |rest, _| {
        let (_, rest) = rest.split_once(char::is_whitespace).unwrap_or_default();
        rest.trim_start()
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Finding;
    use super::*;

    const TEXT: &str = "# what it is\n\nfloor usb4_roce 1\nfloor rxe 0\n\n\
        skip  a.b  the device  has none\nerror c.d  not yet\n";

    fn comparison(findings: &[(&str, Verdict)]) -> Comparison {
        let mut comparison = Comparison::default();
        for (name, verdict) in findings {
            let finding = Finding {
                verdict: *verdict,
                words: "words".to_owned(),
                seconds: 0.1,
            };
            comparison.add(Device::Usb4Roce, name, finding);
        }
        comparison
    }

    const AS_LISTED: [(&str, Verdict); 3] = [
        ("a.b", Verdict::Skip),
        ("c.d", Verdict::Error),
        ("e.f", Verdict::Pass),
    ];

    #[test]
    fn the_checkouts_contracts_are_some() {
        for name in [
            "pyverbs",
            "pyverbs-newest",
            "perftest",
            "pingpong",
            "rdma_cm",
        ] {
            let contract = Contract::of_checkout(name).unwrap();
            assert_eq!(contract.floors.len(), Device::ALL.len(), "{name}");
        }
    }

    #[test]
    fn what_is_as_listed_is_right() {
        let contract = Contract::parse(TEXT).unwrap();
        assert!(contract.complaints(&comparison(&AS_LISTED)).is_empty());
    }

    #[test]
    fn whatever_is_not_as_listed_is_told() {
        let contract = Contract::parse(TEXT).unwrap();
        for (change, complaint) in [
            (("e.f", Verdict::Fail), "e.f: not listed, fail: words"),
            (("e.f", Verdict::Skip), "e.f: not listed, skip: words"),
            (("c.d", Verdict::Pass), "c.d: listed as error, pass: words"),
            (("c.d", Verdict::Hang), "c.d: listed as error, hang: words"),
        ] {
            let changed = AS_LISTED.map(|test| match test.0 == change.0 {
                true => change,
                false => test,
            });
            let complaints = contract.complaints(&comparison(&changed));
            assert_eq!(complaints[0], complaint);
        }
        let complaints = contract.complaints(&comparison(&AS_LISTED[..2]));
        assert_eq!(complaints, ["usb4_roce passes 0 tests, of at least 1"]);
        let complaints = contract.complaints(&comparison(&AS_LISTED[1..]));
        assert_eq!(complaints, ["a.b: listed, and there is no such test"]);
    }

    #[test]
    fn a_renewed_contract_is_kept_and_keeps_reasons() {
        let contract = Contract::parse(TEXT).unwrap();
        assert_eq!(contract.renewed(&comparison(&AS_LISTED)), TEXT);
        let other = comparison(&[
            ("a.b", Verdict::Fail),
            ("c.d", Verdict::Pass),
            ("e.f", Verdict::Hang),
        ]);
        let text = contract.renewed(&other);
        assert!(
            text.contains("\nfail  a.b  the device  has none\n"),
            "{text}"
        );
        assert!(text.contains("\nhang  e.f  unexplained: words\n"), "{text}");
        assert!(!text.contains("c.d"), "{text}");
        let renewed = Contract::parse(&text).unwrap();
        assert!(renewed.complaints(&other).is_empty());
    }

    #[test]
    fn each_entry_has_a_reason() {
        for text in [
            "skip a.b",
            "late a.b reason",
            "floor rxe many",
            "floor siw 1",
        ] {
            assert!(Contract::parse(text).is_err(), "{text}");
        }
        assert!(Contract::parse("skip a.b x\nfail a.b y").is_err());
    }
}
