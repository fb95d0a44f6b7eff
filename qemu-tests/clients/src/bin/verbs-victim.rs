// SPDX-License-Identifier: GPL-2.0

//! Lives with a peer that may do anything, and watches its own memory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::cli;
use verbs_clients::cli::DeviceArgs;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::endpoint::Device;
use verbs_clients::victim;
use verbs_clients::victim::Job;
use verbs_clients::victim::Tally;

const PROGRAM: &str = "verbs-victim";

/// Keep queue pairs to a peer busy that may do anything, and check that memory changes only where it was lent, and that
/// each request completes once.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    /// Ethernet address of the peer
    #[arg(long, value_parser = mac)]
    peer: [u8; 6],

    /// Number of queue pairs
    #[arg(long, default_value_t = 8)]
    queue_pairs: usize,

    /// What is posted
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write here what the peer has to know
    #[arg(long, value_name = "FILE")]
    offer: PathBuf,

    /// End when this file comes into being
    #[arg(long, value_name = "FILE")]
    until: PathBuf,

    /// Seconds that a queue pair in the error state may take to flush what was posted
    #[arg(long, default_value = "20", value_parser = cli::seconds)]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArgs,
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes.map_err(|error| error.to_string())?;
    bytes
        .try_into()
        .map_err(|_| "expected six bytes".to_string())
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    tally: Tally,
}

fn run(args: &Args) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let tally = victim::run(
        &device,
        &Job {
            peer: args.peer,
            queue_pairs: args.queue_pairs,
            seed: args.seed,
            offer: args.offer.clone(),
            until: args.until.clone(),
            limit: args.timeout,
        },
    )?;
    Ok(Report { tally })
}

impl Verdict for Report {
    fn text(&self) -> String {
        format!("{:?}", self.tally)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(PROGRAM, args.output, run(&args))
}
