// SPDX-License-Identifier: GPL-2.0

//! Transfers messages from and to memory that is not pinned, while its pages change.

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
use verbs_clients::paging;
use verbs_clients::paging::Finding;
use verbs_clients::paging::Job;
use verbs_clients::paging::Registration;

const PROGRAM: &str = "verbs-paging";

/// SEND, WRITE and READ from and to memory that is not pinned (on-demand paging), while its pages are replaced, unmapped and shared
/// with children; then access memory that is not there.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

    /// Bytes of a message (suffixes K, M)
    #[arg(long, default_value = "1M", value_parser = cli::size)]
    bytes: usize,

    /// Number of messages
    #[arg(long, default_value_t = 36)]
    count: usize,

    /// Register all memory of the process at once
    #[arg(long)]
    implicit: bool,

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
        count: args.count,
        registration: if args.implicit {
            Registration::Implicit
        } else {
            Registration::Explicit
        },
    };
    let (job, finding) = paging::run(&device, side, peer, job, args.timeout)?;
    Ok(Report {
        program: PROGRAM,
        ok: finding.wrong == 0 && finding.messages == job.count,
        device: device.context.name().to_string(),
        bytes: job.bytes,
        finding,
    })
}

fn text(report: &Report) -> String {
    let Finding {
        messages,
        disturbances,
        wrong,
    } = report.finding;
    format!(
        "{}: {messages} messages of {} bytes, {wrong} of them wrong; pages were taken away or shared {disturbances} times",
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
