// SPDX-License-Identifier: GPL-2.0

//! Checks unreliable datagrams, from end to end.

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
use verbs_clients::datagrams;
use verbs_clients::endpoint::Device;

const PROGRAM: &str = "verbs-datagrams";

/// Send unreliable datagrams both ways and to a multicast group: contents, network headers and completions are checked, and
/// that what ought to be dropped is.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

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
    /// Datagrams whose contents were checked at this end.
    verified: u64,
}

fn end(args: &Args, side: Side, peer: &mut Peer) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let verified = datagrams::run(&device, side, peer, args.timeout)?;
    Ok(Report {
        program: PROGRAM,
        ok: true,
        device: device.context.name().to_string(),
        verified,
    })
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
        |report| format!("{}: {} datagrams verified", report.device, report.verified),
    )
}
