// SPDX-License-Identifier: GPL-2.0

//! How many instructions a message costs both hosts.

use anyhow::Context;
use anyhow::Result;

use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::flow;
use super::plan::Plan;
use super::testbed::Testbed;
use super::turn::in_turn;
use crate::building::progress::Step;

/// Bytes which a run moves at least, and bounds of its number of messages.
const BYTES: u64 = 16 << 20;
const LEAST: u64 = 32;
const MOST: u64 = 2000;

/// Measures everything, in turn, as often as planned.
pub fn measure(testbed: &Testbed<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    if testbed.instance().instructions()?.is_none() {
        // Under KVM. The report will say that nothing was measured.
        return Ok(());
    }
    let executed = || -> Result<f64> {
        let count = testbed.instance().instructions()?;
        Ok(count.context("nothing is counted")?.total() as f64)
    };
    for repeat in 0..plan.repeats {
        for &transport in in_turn(&Transport::ALL, repeat) {
            let name = transport.name();
            let step = Step::begin(&format!(
                "instructions of {name}, {} of {}",
                repeat + 1,
                plan.repeats
            ));
            for &bytes in in_turn(&plan.cost, repeat) {
                let verb = transport.plainest();
                let subject = Subject::new(Metric::Instructions, transport, verb, bytes);
                let many = (BYTES / bytes).clamp(LEAST, MOST);
                let value = flow::per_message(testbed, &subject, many, executed)?;
                figures.add(subject, value);
            }
            step.done();
        }
    }
    Ok(())
}
