// SPDX-License-Identifier: GPL-2.0

//! Transfers messages from and to memory that is not pinned, while its pages change.

use std::path::PathBuf;
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
use verbs_clients::paging;
use verbs_clients::paging::Finding;
use verbs_clients::paging::Job;
use verbs_clients::paging::ReceiveFrom;
use verbs_clients::paging::Registration;
use verbs_clients::paging::Swap;

const PROGRAM: &str = "verbs-paging";

/// SEND, WRITE and READ from and to memory that is not pinned (on-demand paging), while its pages are replaced, unmapped, shared
/// with children and swapped out; then access memory that is not there.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,

    /// Bytes of a message (suffixes K, M)
    #[arg(long, default_value = "1M", value_parser = cli::size)]
    bytes: usize,

    /// Number of messages
    #[arg(long, default_value_t = 36)]
    count: usize,

    /// Go on until this file exists
    #[arg(long)]
    until: Option<PathBuf>,

    /// Register all memory of the process at once
    #[arg(long)]
    implicit: bool,

    /// Receive from a queue that queue pairs share
    #[arg(long)]
    shared_queue: bool,

    /// Have pages swapped out as well; both hosts need swap
    #[arg(long)]
    swap: bool,
}

#[derive(Serialize)]
struct Report {
    device: String,
    bytes: usize,
    #[serde(skip)]
    wanted: usize,
    #[serde(skip)]
    swap: Swap,
    #[serde(flatten)]
    finding: Finding,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let job = Job {
        bytes: args.bytes,
        count: args.count,
        until: args.until.clone(),
        registration: if args.implicit {
            Registration::Implicit
        } else {
            Registration::Explicit
        },
        receive_from: if args.shared_queue {
            ReceiveFrom::Shared
        } else {
            ReceiveFrom::Own
        },
        swap: if args.swap {
            Swap::Present
        } else {
            Swap::Absent
        },
    };
    let (job, finding) = paging::run(device, side, peer, job, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        bytes: job.bytes,
        wanted: job.count,
        swap: job.swap,
        finding,
    })
}

impl Verdict for Report {
    fn is_ok(&self) -> bool {
        let was_swapped = self.swap == Swap::Absent || self.finding.swapped_kib > 0;
        was_swapped && self.finding.wrong == 0 && self.finding.messages >= self.wanted
    }

    fn text(&self) -> String {
        let Finding {
            messages,
            disturbances,
            swapped_kib,
            wrong,
        } = self.finding;
        format!(
            "{}: {messages} messages of {} bytes, {wrong} of them wrong; pages were taken away or shared {disturbances} times, \
             {swapped_kib} KiB of them seen in swap at each end",
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
