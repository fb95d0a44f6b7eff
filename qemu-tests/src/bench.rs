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
mod profile;
mod report;
mod rings;
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
pub use profile::Flow;
pub use profile::Job;
use rings::Layout;
use testbed::Testbed;

/// Cables where bandwidth is measured. All but the first are used only where several rails are measured.
const RAILS: u8 = 4;

/// Runs it on hosts of `lane`; the results are written to `output`.
pub fn run(workbench: &Workbench, lane: Lane, plan: &Plan, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let mut figures = Figures::default();
    let place = Place {
        workbench,
        lane,
        output,
    };
    let measured = place.measure(plan, &mut figures);
    // What was measured before a failure is worth having.
    report::write(&figures, lane, output)?;
    plot::draw(&figures, output)?;
    bars::draw(&figures, output)?;
    println!("{}", report::tables(&figures, lane));
    println!("results are in {}", output.display());
    measured
}

/// Looks at where the time goes on hosts of `lane`, while something moves; what was found is written to `output`.
pub fn profile(workbench: &Workbench, lane: Lane, job: &Job, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let place = Place {
        workbench,
        lane,
        output,
    };
    place.in_lab("profile", 1, Counting::Off, |stage| {
        profile::run(&bring_up(stage)?, job, output)
    })?;
    println!(
        "the flame graph and all samples are in {}",
        output.display()
    );
    Ok(())
}

/// Where something is measured.
struct Place<'a> {
    workbench: &'a Workbench,
    lane: Lane,
    output: &'a Path,
}

impl Place<'_> {
    fn measure(&self, plan: &Plan, figures: &mut Figures) -> Result<()> {
        self.in_lab("speed", RAILS, Counting::Off, |stage| {
            let testbed = bring_up(stage)?;
            uncapped::measure(&testbed, plan, figures)?;
            capped::measure(&testbed, plan, figures)
        })?;
        for layout in Layout::ALL {
            self.in_lab("rings", layout.count, Counting::Off, |stage| {
                let testbed = Testbed::set_up_streams(stage, layout.streams)?;
                rings::measure(&testbed, layout, plan, figures)
            })?;
        }
        self.in_lab("idle", 1, Counting::Off, |stage| {
            idle::measure(stage, plan, figures)
        })?;
        // Counting takes a lab of its own, and hosts that can be counted.
        if plan.cost.is_empty() || self.lane.counting() == Counting::Off {
            return Ok(());
        }
        self.in_lab("cost", 1, Counting::On, |stage| {
            cost::measure(&bring_up(stage)?, plan, figures)
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
