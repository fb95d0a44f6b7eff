// SPDX-License-Identifier: GPL-2.0

//! What is measured over one cable that is as fast as the emulation.

use anyhow::Context;
use anyhow::Result;

use super::figure::Figures;
use super::figure::Transport;
use super::instrument::Instrument;
use super::plan::Plan;
use super::speed::Speed;
use super::testbed::Testbed;
use super::turn::in_turn;
use crate::building::progress::Step;

/// Measures all that is planned, in turn, as often as planned.
pub fn measure(testbed: &Testbed<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let step = Step::begin("find out how fast everything is, roughly");
    let mut speeds = Vec::new();
    for transport in Transport::ALL {
        speeds.push((transport, Speed::of(testbed, transport)?));
    }
    step.done();
    let instrument = Instrument {
        testbed,
        speeds,
        goal: plan.goal,
    };
    for repeat in 0..plan.repeats {
        let step = Step::begin(&format!(
            "measure over one cable, {} of {}",
            repeat + 1,
            plan.repeats
        ));
        for subject in in_turn(&plan.subjects, repeat) {
            let value = instrument
                .measure(subject)
                .with_context(|| format!("measure {subject:?}"))?;
            figures.add(*subject, value);
        }
        step.done();
    }
    Ok(())
}
