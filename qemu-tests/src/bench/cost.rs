// SPDX-License-Identifier: GPL-2.0

//! How many instructions a message costs: those that both hosts execute for many messages, less those for few, so that what every run
//! executes once does not count.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::meter;
use super::plan::Plan;
use super::testbed::address;
use super::testbed::verbs_device;
use super::testbed::Testbed;
use super::testbed::CLIENT;
use super::testbed::SERVER;
use super::turn::in_turn;
use crate::building::progress::Step;
use crate::roce::programs::VerbsProgram;

/// Time limit of a run.
const LIMIT: Duration = Duration::from_secs(240);

/// Port which the program listens on.
const PORT: u16 = 7200;

/// Messages of the run whose instructions are taken off.
const FEW: u64 = 16;

/// Bytes which the long run moves at least, and bounds of its number of messages.
const BYTES: u64 = 16 << 20;
const LEAST: u64 = 32;
const MOST: u64 = 2000;

/// What the program reports.
#[derive(Deserialize)]
struct Report {
    ok: bool,
}

/// Measures everything, in turn, as often as planned.
pub fn measure(testbed: &Testbed<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    if testbed.instance().instructions()?.is_none() {
        // Under KVM. The report will say that nothing was measured.
        return Ok(());
    }
    for repeat in 0..plan.repeats {
        for &transport in in_turn(&Transport::ALL, repeat) {
            let name = transport.name();
            let step = Step::begin(&format!(
                "instructions of {name}, {} of {}",
                repeat + 1,
                plan.repeats
            ));
            for &bytes in in_turn(&plan.cost, repeat) {
                let many = (BYTES / bytes).clamp(LEAST, MOST);
                let short = instructions(testbed, transport, bytes, FEW)?;
                let long = instructions(testbed, transport, bytes, FEW + many)?;
                let subject = Subject {
                    metric: Metric::Instructions,
                    cables: Cables::One,
                    transport,
                    verb: match transport {
                        Transport::Stream | Transport::Tcp => Verb::Bytes,
                        Transport::Roce | Transport::Rxe => Verb::Write,
                    },
                    bytes,
                    qps: 1,
                };
                figures.add(subject, (long as f64 - short as f64) / many as f64);
            }
            step.done();
        }
    }
    Ok(())
}

/// What both hosts execute while `count` messages of `bytes` are moved and nothing polls.
fn instructions(
    testbed: &Testbed<'_>,
    transport: Transport,
    bytes: u64,
    count: u64,
) -> Result<u64> {
    let total = || -> Result<u64> {
        let count = testbed.instance().instructions()?;
        Ok(count.context("nothing is counted")?.total())
    };
    let before = total()?;
    match transport {
        Transport::Stream | Transport::Tcp => {
            meter::move_messages(testbed, transport, bytes, count)?;
        }
        Transport::Roce | Transport::Rxe => write_messages(testbed, transport, bytes, count)?,
    }
    Ok(total()? - before)
}

/// Writes `count` messages of `bytes` over a verbs device; both ends wait for events.
fn write_messages(
    testbed: &Testbed<'_>,
    transport: Transport,
    bytes: u64,
    count: u64,
) -> Result<()> {
    let device = verbs_device(transport).context("this takes a verbs device")?;
    let place = format!("{}:{PORT}", address(transport, SERVER));
    let program = format!("exec /lab/share/verbs-flow --device {device} --json");
    let program = VerbsProgram {
        server_host: SERVER.to_owned(),
        server: format!("{program} --listen {place}"),
        client: format!("{program} --connect {place} --verb write --bytes {bytes} --count {count}"),
        port: PORT,
    };
    let report = program.run(testbed.stage(), CLIENT, LIMIT)?;
    let report: Report = serde_json::from_str(&report).context("the report of verbs-flow")?;
    ensure!(report.ok, "verbs-flow failed");
    Ok(())
}
