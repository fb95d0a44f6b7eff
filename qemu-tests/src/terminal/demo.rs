// SPDX-License-Identifier: GPL-2.0

//! The demonstration: two hosts, one cable, and an all-reduce between them through libibverbs.

use std::fs;
use std::path::Path;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use usb4_cable::topology::LinkSpeed;

use crate::building::kernel_tree::Kernel;
use crate::building::progress::Step;
use crate::building::within::Lifetime;
use crate::building::workbench::Counting;
use crate::building::workbench::Shape;
use crate::building::workbench::Workbench;
use crate::building::workbench::CPUS;
use crate::building::workbench::MEMORY_MIB;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::extent::Extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::instance::Instance;
use crate::hosts::kernel_log::Watch;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::all_reduce;
use crate::roce::all_reduce::Report;
use crate::run;
use crate::terminal::table::Table;

/// Its name in logs.
const DEMO: &str = "demo";

/// Size of the tensor: float32 numbers on each host.
const BYTES: u64 = 64 << 20;

/// Runs it.
pub fn run(workbench: &Workbench) -> Result<()> {
    let modules = workbench.modules(Kernel::Stock)?.files()?;
    let clients = workbench.clients()?.files();
    let instance = workbench.up(&Shape {
        name: &format!("demo-{}", std::process::id()),
        fabric: Fabric::PAIR,
        kernel: Kernel::Stock,
        processor: CpuModel::Fast,
        memory_mib: MEMORY_MIB,
        cpus: CPUS,
        counting: Counting::Off,
        lifetime: Lifetime::WithTheLab,
    })?;
    let (directory, _claim) = run::new_directory(workbench.cache())?;
    let mut watch = Watch::new(&instance, Kernel::Stock);
    let shown = show(&instance, modules.iter().chain(&clients).map(AsRef::as_ref));
    let looked = watch.look(&instance, DEMO, &[]);
    let ended = instance.power_off().and_then(|()| watch.look_at_end());
    instance.kill();
    instance.keep_logs(&directory, DEMO)?;
    instance.remove()?;
    let table = run::both(shown, looked).and_then(|table| ended.map(|()| table));
    let table = table.with_context(|| format!("logs are in {}", directory.display()))?;
    println!("{table}");
    Ok(())
}

fn show<'a>(instance: &Instance, files: impl Iterator<Item = &'a Path>) -> Result<Table> {
    let log = instance.directory().join("demo.log");
    let stage = Stage::new(instance, Extent::Short, &log)?;
    for file in files {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, instance.share().join(name))
            .with_context(|| format!("copy {} to the share", file.display()))?;
    }
    let step = Step::begin("load usb4_roce on both hosts and bring the rail up");
    roce::start(instance)?;
    step.done();
    let step = Step::begin("all-reduce of 64 MiB of float32 through libibverbs, every sum checked");
    let reports = all_reduce::run(&stage, BYTES, "--iterations 1")?;
    step.done();
    match reports.first() {
        Some(report) => Ok(summary(instance, report, &reports)),
        None => bail!("no host reported"),
    }
}

fn summary(instance: &Instance, first: &Report, all: &[Report]) -> Table {
    let topology = instance.topology();
    let speed = match topology.cables.first().map(|cable| cable.speed) {
        Some(LinkSpeed::Gbps20) => "20 Gb/s",
        Some(LinkSpeed::Gbps40) => "40 Gb/s",
        Some(LinkSpeed::Gbps80) => "80 Gb/s",
        None => "none",
    };
    let verified: u64 = all.iter().map(|report| report.verified_bytes).sum();
    let mut table = Table::default();
    table.row("device", &first.device);
    table.row(
        "link",
        &format!(
            "{} software cable(s), trained to {speed}",
            topology.cables.len()
        ),
    );
    table.row(
        "sums verified",
        &format!("{verified} bytes on {} hosts", all.len()),
    );
    table.row(
        "bandwidth",
        &format!(
            "{:.2} Gb/s each way on the cable (emulated hosts)",
            first.bus_gbps
        ),
    );
    if let Some(latency) = first.latency_write_imm {
        table.row(
            "8-byte message",
            &format!(
                "{:.0} us one way (median), {:.0} us (99 %)",
                latency.p50_us, latency.p99_us
            ),
        );
    }
    table
}
