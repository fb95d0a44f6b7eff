// SPDX-License-Identifier: GPL-2.0

//! Lets the allocations of all set-up paths fail, one at a time.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::cli;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::dice::Dice;
use verbs_clients::hostile::fail_nth::FailNth;
use verbs_clients::hostile::fail_nth::Met;
use verbs_clients::hostile::set_up;
use verbs_clients::hostile::set_up::Step;
use verbs_clients::hostile::set_up::Verbs;
use verbs_clients::uverbs::gid_of;
use verbs_clients::uverbs::index_of;
use verbs_clients::uverbs::node_of;
use verbs_clients::uverbs::Destination;

const PROGRAM: &str = "verbs-faults";

/// Let the allocations of each call that sets something up fail, one at a time: the call fails or makes do, and works
/// the next time.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    /// Verbs device
    #[arg(long, requires = "local")]
    device: Option<String>,

    /// Address of this host on the device's interface
    #[arg(long)]
    local: Option<IpAddr>,

    /// In place of verbs, rails: over this stream, which is free
    #[arg(long)]
    stream: Option<String>,

    /// In place of verbs, loading this module
    #[arg(long)]
    module: Option<PathBuf>,

    /// Time for a step; when it does not suffice for all its allocations, some of them are chosen
    #[arg(long, default_value = "20", value_parser = cli::seconds)]
    seconds: Duration,

    /// Seed of the choice
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    /// Allocations that the call makes when all is well.
    allocations: u64,
    /// How many of them were made to fail.
    failed: u64,
    /// After how many of these the call failed, and after how many it did what it should all the same.
    refused: u64,
    bore: u64,
}

#[derive(Serialize)]
struct Report {
    seed: u64,
    steps: Vec<StepReport>,
}

/// Lets the allocations of a step fail, in random order, as long as there is time.
fn sweep(step: &mut Step<'_>, time: Duration, seed: u64) -> Result<StepReport> {
    /// More than any call makes.
    const NEVER: u64 = 1 << 30;
    let mut counter = FailNth::open().context("the kernel cannot let allocations fail")?;
    let name = step.name;
    // The first time may do more than the others.
    (step.call)().with_context(|| format!("{name}: the first time"))?;
    (step.undo)().with_context(|| format!("{name}: undo it"))?;
    let (result, met) = counter.during(NEVER, || (step.call)())?;
    result.with_context(|| format!("{name}: undisturbed"))?;
    (step.undo)().with_context(|| format!("{name}: undo it"))?;
    let Met::Nothing(allocations) = met else {
        anyhow::bail!("{name}: an allocation failed that should not");
    };
    let mut report = StepReport {
        step: name,
        allocations,
        failed: 0,
        refused: 0,
        bore: 0,
    };
    let mut order: Vec<u64> = (1..=allocations).collect();
    let mut dice = Dice::new(&[seed]);
    for last in (1..order.len()).rev() {
        order.swap(last, dice.below(last + 1));
    }
    let end = Instant::now() + time;
    for nth in order {
        if Instant::now() > end {
            break;
        }
        let (result, met) = counter.during(nth, || (step.call)())?;
        report.failed += u64::from(met == Met::Failure);
        match result {
            Ok(()) => {
                report.bore += u64::from(met == Met::Failure);
                (step.undo)().with_context(|| format!("{name}: undo after failure {nth}"))?;
            }
            Err(error) => {
                ensure!(met == Met::Failure, "{name}: {error} without a failure");
                report.refused += 1;
                (step.call)().with_context(|| format!("{name}: again after failure {nth}"))?;
                (step.undo)().with_context(|| format!("{name}: undo after failure {nth}"))?;
            }
        }
    }
    eprintln!("{PROGRAM}: {}", line(&report));
    Ok(report)
}

fn run(args: &Args) -> Result<Report> {
    let mut steps = Vec::new();
    let mut one = |mut step: Step<'_>| -> Result<()> {
        steps.push(sweep(&mut step, args.seconds, args.seed)?);
        Ok(())
    };
    if let Some(file) = &args.module {
        one(set_up::module(file)?)?;
    } else if let Some(stream) = &args.stream {
        one(set_up::rail(stream))?;
    } else {
        let device = args.device.as_ref().context("name a device")?;
        let local = args.local.context("name the address")?;
        let node = node_of(device)?;
        let destination = Destination {
            gid: gid_of(local),
            source_index: index_of(device, local)?,
            number: 0,
        };
        one(set_up::context(&node))?;
        let verbs = Verbs::new(&node, destination).context("the first objects")?;
        for step in verbs.steps() {
            one(step)?;
        }
    }
    Ok(Report {
        seed: args.seed,
        steps,
    })
}

fn line(report: &StepReport) -> String {
    format!(
        "{}: {} of {} allocations failed; {} calls failed of it, {} did not",
        report.step, report.failed, report.allocations, report.refused, report.bore
    )
}

impl Verdict for Report {
    fn text(&self) -> String {
        let lines: Vec<String> = self.steps.iter().map(line).collect();
        lines.join("\n")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    eprintln!("{PROGRAM}: seed {}", args.seed);
    cli::finish(PROGRAM, args.output, run(&args))
}
