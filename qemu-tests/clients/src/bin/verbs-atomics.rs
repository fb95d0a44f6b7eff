// SPDX-License-Identifier: GPL-2.0

//! Checks that atomic operations are carried out once.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::atomics;
use verbs_clients::atomics::Job;
use verbs_clients::atomics::Tally;
use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::EndsArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::endpoint::Device;

const PROGRAM: &str = "verbs-atomics";

/// Count in words of the server, by FETCH AND ADD and COMPARE AND SWAP of the client and by the server's processor at
/// once, write a word as a whole, flush; and check that all was done once.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,

    /// Queue pairs of the client
    #[arg(long, default_value_t = 4)]
    qps: usize,

    /// Number of requests
    #[arg(long, default_value_t = 4000)]
    count: u64,

    /// Go on until this file exists
    #[arg(long, value_name = "FILE")]
    until: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    device: String,
    client: Tally,
    server: Tally,
}

fn end(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let job = Job {
        qps: args.qps,
        count: args.count,
        until: args.until.clone(),
    };
    let [client, server] = atomics::run(device, side, peer, job, args.ends.timeout)?;
    Ok(Report {
        device: device.context.name().to_string(),
        client,
        server,
    })
}

impl Verdict for Report {
    fn text(&self) -> String {
        let Report { client, server, .. } = self;
        format!(
            "{}: {} and {} additions, {} and {} exchanges, {} words written, {} flushes: all done once",
            self.device,
            client.added,
            server.added,
            client.swapped,
            server.swapped,
            client.written,
            client.flushed
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        end(&args, device, side, peer)
    })
}
