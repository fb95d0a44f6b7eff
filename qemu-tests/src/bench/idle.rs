// SPDX-License-Identifier: GPL-2.0

//! What hosts that have nothing to do take of a CPU, with the module and its rails, and without.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::plan::Plan;
use super::turn::in_turn;
use crate::building::progress::Step;
use crate::hosts::instance::Instance;
use crate::hosts::stage::Stage;
use crate::roce;

/// How long what was done before may still be going on.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures both, in turn, as often as planned. The module is not loaded yet.
pub fn measure(stage: &Stage<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let instance = stage.instance();
    let mut now = Metric::IdleBare;
    for repeat in 0..plan.repeats {
        let step = Step::begin(&format!(
            "CPU of idle hosts, {} of {}",
            repeat + 1,
            plan.repeats
        ));
        for &metric in in_turn(&[Metric::IdleBare, Metric::Idle], repeat) {
            match metric {
                _ if metric == now => {}
                Metric::Idle => roce::start(instance)?,
                _ => roce::stop(instance)?,
            }
            now = metric;
            let share = share(instance, plan.idle)?;
            stage.note(&format!("{metric:?}: {:.3} % of a CPU", share * 100.0));
            figures.add(Subject::idle(metric), share);
        }
        step.done();
    }
    Ok(())
}

/// Share of a CPU that a host takes on the average during `span`.
fn share(instance: &Instance, span: Duration) -> Result<f64> {
    thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), instance.cpu_time()?);
    thread::sleep(span);
    let (elapsed, used) = (began.elapsed(), instance.cpu_time()?.saturating_sub(before));
    Ok(used.as_secs_f64() / elapsed.as_secs_f64() / instance.names().len() as f64)
}
