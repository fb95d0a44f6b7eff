// SPDX-License-Identifier: GPL-2.0

//! The benchmark: usb4_roce, the raw stream, rxe and TCP over thunderbolt_net, side by side in one lab over the same cables.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::kernel_tree::Kernel;
use crate::building::progress::Step;
use crate::building::within::Lifetime;
use crate::building::workbench::Counting;
use crate::building::workbench::Shape;
use crate::building::workbench::Workbench;
use crate::building::workbench::MEMORY_MIB;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::kernel_log::Watch;
use crate::hosts::stage::Stage;
use crate::run;

mod bars;
mod capped;
mod cost;
mod figure;
mod meter;
mod perftest;
mod plan;
mod plot;
mod report;
mod target;
mod testbed;
mod uncapped;

use figure::Figures;
pub use plan::Extent;
use plan::Plan;
use testbed::Testbed;

/// CPUs of each host. With more of them, the emulated hosts and the cable take the cores from each other on a small
/// machine, and figures say more of that than of what is compared.
const CPUS: u32 = 1;

/// Cables where bandwidth is measured. All but the first are used only where several rails are measured.
const RAILS: u8 = 4;

/// Runs it; the results are written to `output`.
pub fn run(workbench: &Workbench, extent: Extent, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let mut figures = Figures::default();
    let measured = measure(workbench, &Plan::new(extent), output, &mut figures);
    // What was measured before a failure is worth having.
    report::write(&figures, output)?;
    plot::draw(&figures, output)?;
    bars::draw(&figures, &output.join("goodput.svg"))?;
    println!("{}", report::tables(&figures));
    println!("results are in {}", output.display());
    measured
}

fn measure(workbench: &Workbench, plan: &Plan, output: &Path, figures: &mut Figures) -> Result<()> {
    let speed = Session {
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
    let cost = Session {
        name: "cost",
        rails: 1,
        processor: CpuModel::Real,
        counting: Counting::On,
    };
    cost.run(workbench, output, |testbed| {
        cost::measure(testbed, plan, figures)
    })
}

/// A lab and what is measured in it.
struct Session {
    name: &'static str,
    rails: u8,
    processor: CpuModel,
    counting: Counting,
}

impl Session {
    /// Boots a lab, brings everything up in it, and measures.
    fn run(
        &self,
        workbench: &Workbench,
        output: &Path,
        measure: impl FnOnce(&Testbed<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut files: Vec<PathBuf> = workbench.modules(Kernel::Stock)?.files()?;
        files.extend(workbench.clients()?.files());
        files.push(workbench.tools()?.meter.clone());
        let instance = workbench.up(&Shape {
            name: &format!("bench-{}-{}", self.name, std::process::id()),
            fabric: Fabric {
                rails: self.rails,
                ..Fabric::PAIR
            },
            kernel: Kernel::Stock,
            processor: self.processor,
            memory_mib: MEMORY_MIB,
            cpus: CPUS,
            counting: self.counting,
            lifetime: Lifetime::WithTheLab,
        })?;
        let mut watch = Watch::new(&instance, Kernel::Stock);
        let measured = (|| {
            let log = output.join(format!("{}.log", self.name));
            let stage = Stage::new(&instance, extent::Extent::Short, &log)?;
            for file in &files {
                let name = file.file_name().unwrap_or_default();
                stage.provide(file, &name.to_string_lossy())?;
            }
            let step = Step::begin("bring up thunderbolt_net, rxe, the streams and usb4_roce");
            let testbed = Testbed::set_up(&stage)?;
            step.done();
            measure(&testbed)
        })();
        let looked = watch.look(&instance, self.name, &[]);
        let ended = instance.power_off().and_then(|()| watch.look_at_end());
        instance.kill();
        instance.keep_logs(output, self.name)?;
        instance.remove()?;
        run::both(measured, looked)
            .and(ended)
            .with_context(|| format!("logs of hosts and cables are in {}", output.display()))
    }
}
