// SPDX-License-Identifier: GPL-2.0

//! The benchmark: usb4_roce, the raw stream, and rxe and TCP over thunderbolt_net, side by side in one lab over the same cables.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

use crate::building::progress::Step;
use crate::building::workbench::Workbench;
use crate::hosts::session::Session;
use crate::hosts::shape::Counting;
use crate::hosts::stage::Stage;

mod bars;
mod capped;
mod cost;
mod figure;
mod flow;
mod idle;
mod instrument;
mod lane;
mod meter;
mod perftest;
mod plan;
mod plot;
mod report;
mod speed;
mod spread;
mod target;
mod testbed;
mod turn;
mod uncapped;

use figure::Figures;
pub use lane::Lane;
pub use plan::Extent;
pub use plan::Plan;
use testbed::Testbed;

/// Cables where bandwidth is measured. All but the first are used only where several rails are measured.
const RAILS: u8 = 4;

/// Runs it on hosts of `lane`; the results are written to `output`.
pub fn run(workbench: &Workbench, lane: Lane, plan: &Plan, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let mut figures = Figures::default();
    let run = Run {
        workbench,
        lane,
        plan,
        output,
    };
    let measured = run.measure(&mut figures);
    // What was measured before a failure is worth having.
    report::write(&figures, lane, output)?;
    plot::draw(&figures, output)?;
    bars::draw(&figures, &output.join("goodput.svg"))?;
    println!("{}", report::tables(&figures, lane));
    println!("results are in {}", output.display());
    measured
}

/// A run.
struct Run<'a> {
    workbench: &'a Workbench,
    lane: Lane,
    plan: &'a Plan,
    output: &'a Path,
}

impl Run<'_> {
    fn measure(&self, figures: &mut Figures) -> Result<()> {
        self.in_lab("speed", RAILS, Counting::Off, |stage| {
            let testbed = bring_up(stage)?;
            uncapped::measure(&testbed, self.plan, figures)?;
            capped::measure(&testbed, self.plan, figures)
        })?;
        self.in_lab("idle", 1, Counting::Off, |stage| {
            idle::measure(stage, self.plan, figures)
        })?;
        // Counting takes a lab of its own, and hosts that can be counted.
        if self.plan.cost.is_empty() || self.lane.counting() == Counting::Off {
            return Ok(());
        }
        self.in_lab("cost", 1, Counting::On, |stage| {
            cost::measure(&bring_up(stage)?, self.plan, figures)
        })
    }

    /// Boots a lab, and measures in it. `name` is what the names of its logs begin with.
    fn in_lab(
        &self,
        name: &str,
        rails: u8,
        counting: Counting,
        measure: impl FnOnce(&Stage<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut files = self.workbench.subject(self.lane.kernel())?;
        files.push(self.workbench.tools()?.meter.clone());
        let lab = format!("bench-{name}-{}", std::process::id());
        let session = Session {
            name,
            shape: self.lane.shape(&lab, rails, counting),
            files,
            logs: self.output,
        };
        session.run(self.workbench, measure)
    }
}

/// Brings up everything that is compared.
fn bring_up<'a>(stage: &'a Stage<'a>) -> Result<Testbed<'a>> {
    let step = Step::begin("bring up thunderbolt_net, rxe, the streams and usb4_roce");
    let testbed = Testbed::set_up(stage)?;
    step.done();
    Ok(testbed)
}
