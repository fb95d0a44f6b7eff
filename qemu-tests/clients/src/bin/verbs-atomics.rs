// SPDX-License-Identifier: GPL-2.0

//! Checks that atomic operations are carried out once.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::atomics;
use verbs_clients::atomics::Job;
use verbs_clients::atomics::Tally;
use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::DeviceArgs;
use verbs_clients::cli::Output;
use verbs_clients::cli::PeerArgs;
use verbs_clients::endpoint::Device;

const PROGRAM: &str = "verbs-atomics";

/// Count in words of the server, by FETCH AND ADD and COMPARE AND SWAP of the client and by the server's processor at
/// once, write a word as a whole, flush; and check that all was done once.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

    /// Queue pairs of the client
    #[arg(long, default_value_t = 4)]
    qps: usize,

    /// Number of requests
    #[arg(long, default_value_t = 4000)]
    count: u64,

    /// Go on until this file exists
    #[arg(long, value_name = "FILE")]
    until: Option<PathBuf>,

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
    client: Tally,
    server: Tally,
}

fn end(args: &Args, side: Side, peer: &mut Peer) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let job = Job {
        qps: args.qps,
        count: args.count,
        until: args.until.clone(),
    };
    let [client, server] = atomics::run(&device, side, peer, &job, args.timeout)?;
    Ok(Report {
        program: PROGRAM,
        ok: true,
        device: device.context.name().to_string(),
        client,
        server,
    })
}

fn text(report: &Report) -> String {
    let Report { client, server, .. } = report;
    format!(
        "{}: {} and {} additions, {} and {} exchanges, {} words written, {} flushes: all done once",
        report.device,
        client.added,
        server.added,
        client.swapped,
        server.swapped,
        client.written,
        client.flushed
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
