// SPDX-License-Identifier: GPL-2.0

//! The demonstration: two hosts, one cable, and an all-reduce between them through libibverbs.

use anyhow::bail;
use anyhow::Result;
use lab_agent::protocol::Machine;
use usb4_cable::topology::LinkSpeed;

use super::table::Table;
use crate::building::kernel_tree::Kernel;
use crate::building::progress::Step;
use crate::building::run_directory::RunDirectory;
use crate::building::workbench::Workbench;
use crate::hosts::instance::Instance;
use crate::hosts::session::Session;
use crate::hosts::shape::cpus;
use crate::hosts::shape::Shape;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::all_reduce;
use crate::roce::all_reduce::Report;

/// Its name in logs.
const DEMO: &str = "demo";

/// Size of the tensor: float32 numbers on each host.
const BYTES: u64 = 64 << 20;

/// Runs it on hosts with `kernel`.
pub fn run(workbench: &Workbench, kernel: Kernel) -> Result<()> {
    let directory = RunDirectory::new(workbench.cache())?;
    let lab = format!("{DEMO}-{}", std::process::id());
    let session = Session {
        name: DEMO,
        shape: Shape {
            kernel,
            cpus: cpus(kernel),
            ..Shape::pair(&lab)
        },
        files: workbench.subject(kernel)?,
        logs: directory.path(),
    };
    let table = session.run(workbench, |stage| show(stage, kernel))?;
    println!("{table}");
    Ok(())
}

fn show(stage: &Stage<'_>, kernel: Kernel) -> Result<Table> {
    let step = Step::begin("load usb4_roce on both hosts and bring the rail up");
    roce::start(stage.instance())?;
    step.done();
    let step = Step::begin("all-reduce of 64 MiB of float32 through libibverbs, every sum checked");
    let reports = all_reduce::run(stage, BYTES, "--iterations 1")?;
    step.done();
    match reports.first() {
        Some(report) => Ok(summary(stage.instance(), kernel, report, &reports)),
        None => bail!("no host reported"),
    }
}

fn summary(instance: &Instance, kernel: Kernel, first: &Report, all: &[Report]) -> Table {
    let hosts = match kernel.machine() {
        Machine::Qemu => "emulated hosts",
        Machine::UserMode => "native hosts",
    };
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
        &format!("{:.2} Gb/s each way on the cable ({hosts})", first.bus_gbps),
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
