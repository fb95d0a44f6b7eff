// SPDX-License-Identifier: GPL-2.0

//! What may be skipped.

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

/// The list, in the checkout.
const FILE: &str = "qemu-tests/allowed-skips";

/// What is in it.
const LIST: &str = include_str!("../../allowed-skips");

/// The kind of its entries that are the lab's.
const KIND: &str = "lab";

/// The kinds of other programs' entries.
const OTHERS: [&str; 2] = ["cargo", "check"];

/// What begins a comment.
const COMMENT: char = '#';

/// What stands for any suite.
const ANY: &str = "*";

/// A skip that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    suite: String,
    /// The test and its part.
    rest: String,
    happened: bool,
}

/// The skips that are allowed, and which of them happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    entries: Vec<Entry>,
}

impl Contract {
    /// What the checkout's list allows.
    pub fn of_checkout() -> Result<Self> {
        Self::parse(LIST).context(FILE)
    }

    fn parse(list: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for line in list.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(COMMENT) {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(kind), Some(name), Some(_)) = (words.next(), words.next(), words.next())
            else {
                bail!("{line:?} is not KIND NAME REASON");
            };
            match kind {
                KIND => {
                    let (suite, rest) = name
                        .split_once('/')
                        .with_context(|| format!("{name:?} is not SUITE/TEST/PART"))?;
                    entries.push(Entry {
                        suite: suite.to_owned(),
                        rest: rest.to_owned(),
                        happened: false,
                    });
                }
                kind if OTHERS.contains(&kind) => {}
                kind => bail!("{kind:?} is no kind of skip"),
            }
        }
        Ok(Self { entries })
    }

    /// Whether it is allowed to skip `rest`, a part of a test, of `suite`; notes that it happened.
    pub fn allows(&mut self, suite: &str, rest: &str) -> bool {
        let of =
            |entry: &&mut Entry| (entry.suite == ANY || entry.suite == suite) && entry.rest == rest;
        let mut entries: Vec<_> = self.entries.iter_mut().filter(of).collect();
        for entry in &mut entries {
            entry.happened = true;
        }
        !entries.is_empty()
    }

    /// The skips that did not happen, although `has_run` says that their test was run.
    pub fn unused(&self, has_run: impl Fn(Option<&str>, &str) -> bool) -> Vec<String> {
        let never = self.entries.iter().filter(|entry| !entry.happened);
        let could = never.filter(|entry| {
            let suite = (entry.suite != ANY).then_some(entry.suite.as_str());
            let test = entry.rest.split('/').next().unwrap_or_default();
            has_run(suite, test)
        });
        could
            .map(|entry| format!("{}/{}", entry.suite, entry.rest))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\n\nlab verbs/errors/x  a reason\nlab */verify/y  another one\n\
        cargo simulation::replay  of one seed\n";

    #[test]
    fn the_checkouts_list_is_one() {
        Contract::of_checkout().unwrap();
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let mut contract = Contract::parse(TEXT).unwrap();
        assert!(contract.allows("verbs", "errors/x"));
        assert!(contract.allows("debug", "verify/y"));
        assert!(!contract.allows("debug", "errors/x"));
        assert!(!contract.allows("verbs", "errors"));
        assert!(!contract.allows("verbs", "errors/y"));
    }

    #[test]
    fn what_did_not_happen_is_told() {
        let mut contract = Contract::parse(TEXT).unwrap();
        assert_eq!(contract.unused(|_, _| true).len(), 2);
        assert!(contract.unused(|_, _| false).is_empty());
        assert!(contract.allows("debug", "verify/y"));
        assert_eq!(contract.unused(|_, _| true), ["verbs/errors/x"]);
        let has_run = |suite: Option<&str>, test: &str| suite == Some("verbs") && test == "errors";
        assert_eq!(contract.unused(has_run), ["verbs/errors/x"]);
    }

    #[test]
    fn each_entry_has_a_reason() {
        for text in ["lab verbs/errors/x", "lab x reason", "lap a/b/c reason"] {
            assert!(Contract::parse(text).is_err(), "{text}");
        }
    }
}
