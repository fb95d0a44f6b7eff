// SPDX-License-Identifier: GPL-2.0

//! Messages moved by programs that sleep while there is nothing to do, and what they cost.
//!
//! What every run costs once, such as starting the programs, must not count: what a short run costs is taken off.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::figure::Subject;
use super::figure::Verb;
use super::meter;
use super::testbed::address;
use super::testbed::verbs_device;
use super::testbed::Testbed;
use super::testbed::CLIENT;
use super::testbed::SERVER;
use crate::roce::programs::VerbsProgram;

/// Time limit of a run.
const LIMIT: Duration = Duration::from_secs(240);

/// Port which the program listens on.
const PORT: u16 = 7200;

/// Messages of the short run.
const FEW: u64 = 16;

/// What the program reports.
#[derive(Deserialize)]
struct Report {
    ok: bool,
}

/// What each of `many` messages of `subject` adds to what `counter` gives.
pub fn per_message(
    testbed: &Testbed<'_>,
    subject: &Subject,
    many: u64,
    counter: impl Fn() -> Result<f64>,
) -> Result<f64> {
    let added = |count| -> Result<f64> {
        let before = counter()?;
        run(testbed, subject, count)?;
        Ok(counter()? - before)
    };
    let short = added(FEW)?;
    let long = added(FEW + many)?;
    Ok((long - short) / (many * u64::from(subject.flows)) as f64)
}

/// Moves `count` messages of `subject`, on each connection.
pub fn run(testbed: &Testbed<'_>, subject: &Subject, count: u64) -> Result<()> {
    match subject.verb {
        Verb::Bytes => meter::move_messages(testbed, subject, count),
        Verb::Write => by_verb(testbed, subject, "write", count),
        Verb::Read => by_verb(testbed, subject, "read", count),
        Verb::Send => by_verb(testbed, subject, "send", count),
        verb => bail!("verbs-flow has no {}", verb.name()),
    }
}

fn by_verb(testbed: &Testbed<'_>, subject: &Subject, verb: &str, count: u64) -> Result<()> {
    let Subject {
        transport,
        bytes,
        flows,
        ..
    } = *subject;
    if flows != 1 {
        bail!("verbs-flow has one QP");
    }
    let device = verbs_device(transport).context("this takes a verbs device")?;
    let place = format!("{}:{PORT}", address(transport, SERVER));
    let program = format!("exec /lab/share/verbs-flow --device {device} --json");
    let program = VerbsProgram {
        server_host: SERVER.to_owned(),
        server: format!("{program} --listen {place}"),
        client: format!(
            "{program} --connect {place} --verb {verb} --bytes {bytes} --count {count}"
        ),
        port: PORT,
    };
    let report = program.run(testbed.stage(), CLIENT, LIMIT)?;
    let report: Report = serde_json::from_str(&report).context("the report of verbs-flow")?;
    ensure!(report.ok, "verbs-flow failed");
    Ok(())
}
