// SPDX-License-Identifier: GPL-2.0

//! Sends messages over an unreliable connection; whatever arrives is checked.

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
use verbs_clients::unreliable;
use verbs_clients::unreliable::Finding;
use verbs_clients::unreliable::Job;
use verbs_clients::unreliable::Through;

const PROGRAM: &str = "verbs-unreliable";

/// Send messages over an unreliable connection (UC): those that arrive have to be whole, in order, and come once. Some may be
/// lost, and how many is for the caller to judge.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,

    /// Bytes of the longest messages (suffixes K, M)
    #[arg(long, default_value = "200K", value_parser = cli::size)]
    bytes: usize,

    /// Number of bursts of 16 messages
    #[arg(long, default_value_t = 20)]
    bursts: u32,

    /// By which key messages are written
    #[arg(long, value_enum, default_value = "region")]
    through: Through,
}

#[derive(Serialize)]
struct Report {
    device: String,
    bytes: usize,
    #[serde(flatten)]
    finding: Finding,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let job = Job {
        bytes: args.bytes,
        bursts: args.bursts,
        through: args.through,
    };
    let (job, finding) = unreliable::run(device, side, peer, job, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        bytes: job.bytes,
        finding,
    })
}

impl Verdict for Report {
    fn is_ok(&self) -> bool {
        let finding = &self.finding;
        finding.received > 0 && finding.wrong == 0 && finding.out_of_order == 0
    }

    fn text(&self) -> String {
        let Finding {
            sent,
            received,
            wrong,
            out_of_order,
        } = self.finding;
        format!(
            "{}: {received} of {sent} messages of up to {} bytes arrived, {wrong} of them wrong, {out_of_order} out of order",
            self.device, self.bytes
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
