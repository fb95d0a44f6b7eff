// SPDX-License-Identifier: GPL-2.0

//! Sends messages over an unreliable connection; whatever arrives is checked.

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
use verbs_clients::unreliable;
use verbs_clients::unreliable::Finding;
use verbs_clients::unreliable::Job;

const PROGRAM: &str = "verbs-unreliable";

/// Send messages over an unreliable connection (UC): those that arrive have to be whole, in order, and come once. Some may be
/// lost, and how many is for the caller to judge.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

    /// Bytes of the longest messages (suffixes K, M)
    #[arg(long, default_value = "200K", value_parser = cli::size)]
    bytes: usize,

    /// Number of bursts of 16 messages
    #[arg(long, default_value_t = 20)]
    bursts: u32,

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
    bytes: usize,
    #[serde(flatten)]
    finding: Finding,
}

fn end(args: &Args, side: Side, peer: &mut Peer) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let job = Job {
        bytes: args.bytes,
        bursts: args.bursts,
    };
    let (job, finding) = unreliable::run(&device, side, peer, job, args.timeout)?;
    Ok(Report {
        program: PROGRAM,
        ok: finding.received > 0 && finding.wrong == 0 && finding.out_of_order == 0,
        device: device.context.name().to_string(),
        bytes: job.bytes,
        finding,
    })
}

fn text(report: &Report) -> String {
    let Finding {
        sent,
        received,
        wrong,
        out_of_order,
    } = report.finding;
    format!(
        "{}: {received} of {sent} messages of up to {} bytes arrived, {wrong} of them wrong, {out_of_order} out of order",
        report.device, report.bytes
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
