// SPDX-License-Identifier: GPL-2.0

//! The benchmark: usb4_roce, the raw stream, rxe and TCP over thunderbolt_net, side by side in one lab over the same cables.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

use crate::building::kernel_tree::Kernel;
use crate::building::progress::Step;
use crate::building::workbench::Workbench;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::fabric::Fabric;
use crate::hosts::session::Session;
use crate::hosts::shape::Counting;
use crate::hosts::shape::Shape;

mod bars;
mod capped;
mod cost;
mod figure;
mod instrument;
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
pub use plan::Extent;
pub use plan::Plan;
use testbed::Testbed;

/// CPUs of each host. With more of them, the emulated hosts and the cable take the cores from each other on a small
/// machine, and figures say more of that than of what is compared.
const CPUS: u32 = 1;

/// Cables where bandwidth is measured. All but the first are used only where several rails are measured.
const RAILS: u8 = 4;

/// Runs it; the results are written to `output`.
pub fn run(workbench: &Workbench, plan: &Plan, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let mut figures = Figures::default();
    let measured = measure(workbench, plan, output, &mut figures);
    // What was measured before a failure is worth having.
    report::write(&figures, output)?;
    plot::draw(&figures, output)?;
    bars::draw(&figures, &output.join("goodput.svg"))?;
    println!("{}", report::tables(&figures));
    println!("results are in {}", output.display());
    measured
}

fn measure(workbench: &Workbench, plan: &Plan, output: &Path, figures: &mut Figures) -> Result<()> {
    let speed = Measurement {
        name: "speed",
        rails: RAILS,
        processor: CpuModel::Fast,
        counting: Counting::Off,
    };
    speed.run(workbench, output, |testbed| {
        uncapped::measure(testbed, plan, figures)?;
        capped::measure(testbed, plan, figures)
    })?;
    // Counting takes a lab of its own: where instructions are to be those of a real host, TCG is slow.
    let cost = Measurement {
        name: "cost",
        rails: 1,
        processor: CpuModel::Real,
        counting: Counting::On,
    };
    cost.run(workbench, output, |testbed| {
        cost::measure(testbed, plan, figures)
    })
}

/// What is measured in a lab of its own.
struct Measurement {
    name: &'static str,
    rails: u8,
    processor: CpuModel,
    counting: Counting,
}

impl Measurement {
    /// Boots a lab, brings everything up in it, and measures.
    fn run(
        &self,
        workbench: &Workbench,
        output: &Path,
        measure: impl FnOnce(&Testbed<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut files = workbench.subject(Kernel::Stock)?;
        files.push(workbench.tools()?.meter.clone());
        let lab = format!("bench-{}-{}", self.name, std::process::id());
        let session = Session {
            name: self.name,
            shape: Shape {
                fabric: Fabric {
                    rails: self.rails,
                    ..Fabric::PAIR
                },
                processor: self.processor,
                cpus: CPUS,
                counting: self.counting,
                ..Shape::pair(&lab)
            },
            files,
            logs: output,
        };
        session.run(workbench, |stage| {
            let step = Step::begin("bring up thunderbolt_net, rxe, the streams and usb4_roce");
            let testbed = Testbed::set_up(stage)?;
            step.done();
            measure(&testbed)
        })
    }
}
