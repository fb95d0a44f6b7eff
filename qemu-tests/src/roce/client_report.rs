// SPDX-License-Identifier: GPL-2.0

//! Reports of the verbs clients. What a client skipped, the test skips.

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::hosts::stage::Stage;

/// A part of the run of `verbs-verify`.
#[derive(Deserialize)]
struct Variant {
    variant: String,
    skipped: Option<String>,
    #[serde(default)]
    rounds: u64,
}

/// A case of `verbs-errors`.
#[derive(Deserialize)]
struct Case {
    name: String,
    result: CaseResult,
    reason: Option<String>,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CaseResult {
    Pass,
    Skip,
    Fail,
}

/// What a client has written.
fn parse(text: &str) -> Result<Value> {
    let report: Value = serde_json::from_str(text).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    Ok(report)
}

/// The part `name` of a report.
fn part<T: for<'de> Deserialize<'de>>(report: &Value, name: &str) -> Result<Vec<T>> {
    Deserialize::deserialize(&report[name]).with_context(|| format!("{name} of the report"))
}

/// Checks the report `text` of `verbs-verify`; gives the number of rounds that were verified.
pub fn verified(stage: &Stage<'_>, text: &str) -> Result<u64> {
    let report = parse(text)?;
    let variants: Vec<Variant> = part(&report, "variants")?;
    for variant in &variants {
        if let Some(reason) = &variant.skipped {
            stage.skip(&variant.variant, reason);
        }
    }
    let rounds = variants.iter().map(|variant| variant.rounds).sum();
    ensure!(rounds > 0, "nothing was verified: {report}");
    Ok(rounds)
}

/// Checks the report `text` of `verbs-errors`.
pub fn no_errors(stage: &Stage<'_>, text: &str) -> Result<()> {
    let report = parse(text)?;
    let cases: Vec<Case> = part(&report, "cases")?;
    let passed = cases.iter().filter(|case| case.result == CaseResult::Pass);
    ensure!(passed.count() > 0, "no case has run: {report}");
    for case in cases {
        ensure!(case.result != CaseResult::Fail, "{} failed", case.name);
        if case.result == CaseResult::Skip {
            stage.skip(&case.name, &case.reason.unwrap_or_default());
        }
    }
    Ok(())
}
