// SPDX-License-Identifier: GPL-2.0

//! Moves messages of one size from client to server, sleeping while there is nothing to do.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::DeviceArgs;
use verbs_clients::cli::Output;
use verbs_clients::cli::PeerArgs;
use verbs_clients::endpoint::Device;
use verbs_clients::flow;
use verbs_clients::flow::Job;
use verbs_clients::flow::Verb;

const PROGRAM: &str = "verbs-flow";

/// Move messages of one size from client to server on one queue pair, waiting for completions by events: for
/// counting what a message costs.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

    /// How messages move
    #[arg(long, value_enum, default_value_t = Verb::Write)]
    verb: Verb,

    /// Bytes of a message (suffixes K, M)
    #[arg(long, default_value = "64K", value_parser = cli::size)]
    bytes: usize,

    /// Number of messages
    #[arg(long, default_value_t = 1000)]
    count: u64,

    /// Seconds without progress after which it counts as hung
    #[arg(long, default_value = "60", value_parser = cli::seconds)]
    timeout: Duration,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    program: &'static str,
    ok: bool,
    device: String,
    #[serde(flatten)]
    job: Job,
    seconds: f64,
}

fn end(args: &Args, side: Side, peer: &mut Peer) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let job = Job {
        verb: args.verb,
        bytes: args.bytes,
        count: args.count,
    };
    let (job, seconds) = flow::run(&device, side, peer, job, args.timeout)?;
    Ok(Report {
        program: PROGRAM,
        ok: true,
        device: device.context.name().to_string(),
        job,
        seconds,
    })
}

fn text(report: &Report) -> String {
    let Job { verb, bytes, count } = report.job;
    format!(
        "{}: {count} messages of {bytes} bytes by {verb:?} in {:.3} s",
        report.device, report.seconds
    )
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = cli::run_ends(&args.peer, args.timeout, |side, peer| {
        end(&args, side, peer)
    });
    cli::finish(
        PROGRAM,
        Output::from_flag(args.json),
        result,
        |report| report.ok,
        text,
    )
}
