// SPDX-License-Identifier: GPL-2.0

//! The benchmark: usb4_roce, the raw stream, and rxe and TCP over thunderbolt_net, side by side in one lab over the same cables; messages,
//! and disks and files of the other host.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

use crate::building::addition::Addition;
use crate::building::progress::Step;
use crate::building::workbench::Workbench;
use crate::hosts::session::Session;
use crate::hosts::shape::Counting;
use crate::hosts::shape::Shape;
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
mod part;
mod perftest;
mod plan;
mod plot;
mod profile;
mod report;
mod rings;
mod speed;
mod spread;
mod storage;
mod target;
mod testbed;
mod turn;
mod uncapped;

use figure::Figures;
pub use lane::Lane;
use part::Part;
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
    report::write(&figures, lane, plan.parts, output)?;
    plot::draw(&figures, output)?;
    bars::draw(&figures, output)?;
    println!("{}", report::tables(&figures, lane, plan.parts));
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
    place.in_lab(&Site::new("profile", 1), |stage| {
        profile::run(&bring_up(stage)?, job, output)
    })?;
    println!(
        "the flame graph and all samples are in {}",
        output.display()
    );
    Ok(())
}

/// A lab that is booted for a part of the benchmark.
struct Site {
    /// What the names of its logs begin with.
    name: &'static str,
    /// Cables.
    rails: u8,
    /// Whether instructions are counted.
    counting: Counting,
    /// Packages beside those of the root.
    addition: Option<Addition>,
}

impl Site {
    /// One with nothing special about it.
    const fn new(name: &'static str, rails: u8) -> Self {
        Self {
            name,
            rails,
            counting: Counting::Off,
            addition: None,
        }
    }
}

/// Where something is measured.
struct Place<'a> {
    workbench: &'a Workbench,
    lane: Lane,
    output: &'a Path,
}

impl Place<'_> {
    fn measure(&self, plan: &Plan, figures: &mut Figures) -> Result<()> {
        for part in plan.parts {
            self.measure_part(*part, plan, figures)?;
        }
        Ok(())
    }

    fn measure_part(&self, part: Part, plan: &Plan, figures: &mut Figures) -> Result<()> {
        match part {
            Part::Speed => self.in_lab(&Site::new("speed", RAILS), |stage| {
                let testbed = bring_up(stage)?;
                uncapped::measure(&testbed, plan, figures)?;
                capped::measure(&testbed, plan, figures)
            }),
            Part::Rings => {
                for layout in Layout::ALL {
                    self.in_lab(&Site::new("rings", layout.count), |stage| {
                        let testbed = Testbed::set_up_streams(stage, layout.streams)?;
                        rings::measure(&testbed, layout, plan, figures)
                    })?;
                }
                Ok(())
            }
            Part::Idle => self.in_lab(&Site::new("idle", 1), |stage| {
                idle::measure(stage, plan, figures)
            }),
            Part::Storage => {
                let site = Site {
                    addition: Some(Addition::Storage),
                    ..Site::new("storage", 1)
                };
                self.in_lab(&site, |stage| {
                    storage::measure(&bring_up(stage)?, plan, figures)
                })
            }
            // Not all hosts can be counted.
            Part::Cost if self.lane.counting() == Counting::Off => Ok(()),
            Part::Cost => {
                let site = Site {
                    counting: Counting::On,
                    ..Site::new("cost", 1)
                };
                self.in_lab(&site, |stage| {
                    cost::measure(&bring_up(stage)?, plan, figures)
                })
            }
        }
    }

    /// Boots a lab, and measures in it.
    fn in_lab(&self, site: &Site, measure: impl FnOnce(&Stage<'_>) -> Result<()>) -> Result<()> {
        let mut files = self.workbench.subject(self.lane.kernel())?;
        files.push(self.workbench.tools()?.meter.clone());
        let lab = format!("bench-{}-{}", site.name, std::process::id());
        let session = Session {
            name: site.name,
            shape: Shape {
                addition: site.addition,
                ..self.lane.shape(&lab, site.rails, site.counting)
            },
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
