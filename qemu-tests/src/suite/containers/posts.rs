// SPDX-License-Identifier: GPL-2.0

//! Requests posted in all the ways that libibverbs has, and what may become of them.

use std::collections::BTreeMap;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::contained::Contained;
use super::contained::PORT;
use super::verdicts::Verdict;
use super::verdicts::Verdicts;
use crate::building::container::Release;
use crate::building::container::POSTS;
use crate::hosts::stage::Stage;
use crate::roce::DEVICE;

/// How a program posts its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `ibv_post_send`.
    Classic,
    /// `ibv_wr_*`.
    Extended,
}

impl Interface {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Classic, Self::Extended];

    const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Extended => "extended",
        }
    }

    /// Cases that the program has for it.
    const fn cases(self) -> usize {
        match self {
            Self::Classic => EACH_WAY,
            Self::Extended => EACH_WAY + AFTER_ABORT,
        }
    }
}

/// Operations of each kind of payload, without inline READs, and one that goes round the queue.
const EACH_WAY: usize = 5 * 13 - 5 + 1;

/// Cases with a request that was given up.
const AFTER_ABORT: usize = 2;

/// What the program writes of an interface that the provider does not have.
const NOT_OFFERED: &str = "not offered";

/// What it writes of a request whose data is all where it belongs.
const ARRIVED: &str = "ok";

/// What it writes of a request that the module has to refuse.
const REFUSED: &str = "refused: local QP operation error";

/// The first version of rdma-core whose provider for rxe has the extended interface.
const EXTENDED_SINCE: u32 = 34;

/// The first one whose `ibv_wr_set_inline_data_list` tells the length.
const LENGTH_SINCE: u32 = 64;

/// Payloads of several pieces of inline data.
const INLINE_LISTS: [&str; 3] = ["inline-list", "inline-list-of-one", "inline-list-full"];

/// Has requests with each kind of payload posted by programs of `release`, whose rdma-core has this `version`, and looked at by
/// whom they are for.
pub fn try_all(
    stage: &Stage<'_>,
    release: Release,
    version: u32,
    interface: Interface,
    verdicts: &mut Verdicts,
) {
    let what = format!("{release}: {POSTS} {}", interface.name());
    let command = format!("/mnt/{POSTS} {DEVICE} $gid {} {PORT}", interface.name());
    let ends = Contained {
        server: release,
        client: release,
        command: &command,
    };
    let found = ends.run(stage).and_then(|text| {
        let found = judge(&text, interface, version);
        found.with_context(|| format!("rdma-core {version} wrote:\n{text}"))
    });
    match found {
        Ok(found) => {
            for (case, verdict, words) in found {
                verdicts.add(&format!("{what}: {case}"), verdict, &words);
            }
        }
        Err(error) => verdicts.fail(&what, &error),
    }
}

/// A verdict for each case of what the program wrote, and its words.
fn judge(text: &str, interface: Interface, version: u32) -> Result<Vec<(String, Verdict, String)>> {
    if text.trim() == NOT_OFFERED {
        let is_old = interface == Interface::Extended && version < EXTENDED_SINCE;
        ensure!(is_old, "it should be offered");
        return Ok(vec![("all".to_owned(), Verdict::NotOffered, String::new())]);
    }
    let mut cases = BTreeMap::new();
    for line in text.lines() {
        let (case, outcome) = line.split_once(' ').context("a case without outcome")?;
        cases.insert(case, outcome);
    }
    let expected = interface.cases();
    ensure!(
        cases.len() == expected,
        "{} cases, not {expected}",
        cases.len()
    );
    let judged = cases.into_iter().map(|(case, outcome)| {
        let (operation, payload) = case.split_once('/').context("a case without payload")?;
        let has_no_length = interface == Interface::Extended
            && version < LENGTH_SINCE
            && INLINE_LISTS.contains(&payload);
        // What a request that was given up has left in the slot cannot be told from inline data without a length.
        let is_left_over = operation == "after-abort" && payload == "nothing";
        let verdict = match (outcome, has_no_length || is_left_over) {
            (ARRIVED, false) => Verdict::Pass,
            (REFUSED, true) => Verdict::Refused,
            _ => Verdict::Fail,
        };
        Ok((case.to_owned(), verdict, outcome.to_owned()))
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program writes of the extended interface, with `list` for inline lists.
    fn report(list: &str) -> String {
        let mut text = String::new();
        for operation in ["send", "send_imm", "write", "write_imm", "read"] {
            for payload in 0..8 {
                text += &format!("{operation}/{payload} ok\n");
            }
            if operation != "read" {
                for payload in ["inline-1", "inline-64"] {
                    text += &format!("{operation}/{payload} ok\n");
                }
                for payload in INLINE_LISTS {
                    text += &format!("{operation}/{payload} {list}\n");
                }
            }
        }
        text + "all/round-the-queue ok\nafter-abort/list ok\n\
            after-abort/nothing refused: local QP operation error\n"
    }

    fn count(text: &str, version: u32, verdict: Verdict) -> usize {
        let found = judge(text, Interface::Extended, version).unwrap();
        let found = found.iter().filter(|(_, of_case, _)| *of_case == verdict);
        found.count()
    }

    #[test]
    fn what_has_no_length_has_to_be_refused() {
        let (old, new) = (LENGTH_SINCE - 1, LENGTH_SINCE);
        let lists = 4 * INLINE_LISTS.len();
        assert_eq!(count(&report(REFUSED), old, Verdict::Refused), lists + 1);
        assert_eq!(count(&report(REFUSED), old, Verdict::Fail), 0);
        assert_eq!(count(&report(ARRIVED), new, Verdict::Refused), 1);
        assert_eq!(count(&report(ARRIVED), new, Verdict::Fail), 0);
        for (list, version) in [
            (ARRIVED, old),
            ("LOST", old),
            ("FAILED: local QP operation error", old),
            ("refused: transport retry counter exceeded", old),
            (REFUSED, new),
            ("LOST", new),
        ] {
            let failed = count(&report(list), version, Verdict::Fail);
            assert_eq!(failed, lists, "{list} {version}");
        }
    }

    #[test]
    fn no_case_may_be_missing() {
        assert!(judge("send/nothing ok", Interface::Extended, LENGTH_SINCE).is_err());
        assert!(judge("", Interface::Classic, LENGTH_SINCE).is_err());
    }

    #[test]
    fn only_old_versions_may_not_offer_it() {
        let judge = |interface, version| judge("not offered\n", interface, version);
        assert!(judge(Interface::Extended, EXTENDED_SINCE - 1).is_ok());
        assert!(judge(Interface::Extended, EXTENDED_SINCE).is_err());
        assert!(judge(Interface::Classic, EXTENDED_SINCE - 1).is_err());
    }
}
