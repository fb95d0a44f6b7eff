// SPDX-License-Identifier: GPL-2.0

//! Checks unreliable datagrams, from end to end.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::EndsArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::datagrams;
use verbs_clients::endpoint::Device;

const PROGRAM: &str = "verbs-datagrams";

/// Send unreliable datagrams both ways and to a multicast group: contents, network headers and completions are checked, and
/// that what ought to be dropped is.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,
}

#[derive(Serialize)]
struct Report {
    device: String,
    /// Datagrams whose contents were checked at this end.
    verified: u64,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let verified = datagrams::run(device, side, peer, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        verified,
    })
}

impl Verdict for Report {
    fn text(&self) -> String {
        format!("{}: {} datagrams verified", self.device, self.verified)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
