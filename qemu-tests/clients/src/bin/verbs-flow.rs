// SPDX-License-Identifier: GPL-2.0

//! Moves messages of one size from client to server, sleeping while there is nothing to do.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::EndsArgs;
use verbs_clients::cli::Verdict;
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
    ends: EndsArgs,

    /// How messages move
    #[arg(long, value_enum, default_value_t = Verb::Write)]
    verb: Verb,

    /// Bytes of a message (suffixes K, M)
    #[arg(long, default_value = "64K", value_parser = cli::size)]
    bytes: usize,

    /// Number of messages
    #[arg(long, default_value_t = 1000)]
    count: u64,
}

#[derive(Serialize)]
struct Report {
    device: String,
    #[serde(flatten)]
    job: Job,
    seconds: f64,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let job = Job {
        verb: args.verb,
        bytes: args.bytes,
        count: args.count,
    };
    let (job, seconds) = flow::run(device, side, peer, job, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        job,
        seconds,
    })
}

impl Verdict for Report {
    fn text(&self) -> String {
        let Job { verb, bytes, count } = self.job;
        format!(
            "{}: {count} messages of {bytes} bytes by {verb:?} in {:.3} s",
            self.device, self.seconds
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
