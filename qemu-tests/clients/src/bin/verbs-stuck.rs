// SPDX-License-Identifier: GPL-2.0

//! Accesses memory whose pages never come.

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
use verbs_clients::stuck;
use verbs_clients::stuck::Finding;

const PROGRAM: &str = "verbs-stuck";

/// WRITE to and READ from memory that is not pinned and whose pages never come (userfaultfd): the requests fail, and everything can
/// be let go of. Needs CAP_SYS_PTRACE.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,
}

#[derive(Serialize)]
struct Report {
    device: String,
    #[serde(flatten)]
    finding: Finding,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    Ok(Report {
        device: device.context.name().to_string(),
        finding: stuck::run(device, side, peer, args.ends.timeout)?,
    })
}

impl Verdict for Report {
    fn is_ok(&self) -> bool {
        self.finding.as_expected
    }

    fn text(&self) -> String {
        let Finding { write, read, .. } = &self.finding;
        format!(
            "{}: the WRITE ended with {write}, the READ with {read}",
            self.device
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
