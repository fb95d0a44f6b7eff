// SPDX-License-Identifier: GPL-2.0

//! Writes messages to a receiver that polls their last bytes, takes the data and uses the memory again at once.

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
use verbs_clients::placement;
use verbs_clients::placement::Finding;
use verbs_clients::placement::Job;

const PROGRAM: &str = "verbs-placement";

/// Write messages to a receiver that polls their last bytes, takes the data and uses the memory again at once: nothing
/// may be missing then, and nothing be written afterwards.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,

    /// Bytes of a message, a multiple of 8 (suffixes K, M)
    #[arg(long, default_value = "64K", value_parser = cli::size)]
    bytes: usize,

    /// Number of messages
    #[arg(long, default_value_t = 300)]
    count: u64,

    /// What messages are filled with, again and again, in hexadecimal digits
    #[arg(long, default_value = "0123456789abcdef", value_parser = unit)]
    unit: Unit,
}

#[derive(Clone)]
struct Unit(Vec<u8>);

fn unit(text: &str) -> Result<Unit, String> {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|error| format!("{pair:?}: {error}"))
    });
    bytes.collect::<Result<Vec<u8>, String>>().map(Unit)
}

#[derive(Serialize)]
struct Report {
    device: String,
    bytes: usize,
    count: u64,
    #[serde(flatten)]
    finding: Finding,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let job = Job {
        bytes: args.bytes,
        count: args.count,
        unit: args.unit.0.clone(),
    };
    let (job, finding) = placement::run(device, side, peer, job, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        bytes: job.bytes,
        count: job.count,
        finding,
    })
}

impl Verdict for Report {
    fn is_ok(&self) -> bool {
        self.finding.incomplete == 0 && self.finding.written_again == 0
    }

    fn text(&self) -> String {
        let Finding {
            incomplete,
            written_again,
        } = self.finding;
        format!(
            "{}: {} messages of {} bytes, {incomplete} incomplete when seen, {written_again} written again afterwards",
            self.device, self.count, self.bytes
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
