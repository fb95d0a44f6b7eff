// SPDX-License-Identifier: GPL-2.0

//! Races for verbs objects: between threads, processes and hosts.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use verbs_clients::cli;
use verbs_clients::cli::OutputArgs;
use verbs_clients::stress::supervisor;
use verbs_clients::stress::supervisor::Plan;
use verbs_clients::stress::worker::Manners;
use verbs_clients::stress::worker::Strangers;

const PROGRAM: &str = "verbs-stress";

/// Race for verbs objects, with several processes of several threads on each of two hosts: post, modify, destroy,
/// deregister, resize and query, all on the same objects, against traffic from the other host, with processes killed
/// in the middle of it. To be run at both hosts.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    /// Verbs device
    #[arg(long)]
    device: String,

    /// Address of this host on the device's interface
    #[arg(long)]
    local: IpAddr,

    /// Address of the other host
    #[arg(long)]
    peer: IpAddr,

    /// UDP port of both hosts
    #[arg(long, default_value_t = 7100)]
    udp: u16,

    /// Seed of all that is chosen; when it happens is up to the machine
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Run for this time
    #[arg(long, default_value = "60", value_parser = cli::seconds)]
    seconds: Duration,

    /// Processes
    #[arg(long, default_value_t = 3)]
    processes: usize,

    /// Threads of each process
    #[arg(long, default_value_t = 3)]
    threads: usize,

    /// Kill a process each so many seconds, on average
    #[arg(long, default_value = "1.5", value_parser = cli::seconds)]
    kill_every: Duration,

    /// Also address hosts that do not exist
    #[arg(long)]
    strangers: bool,

    /// Also write over the mapped queues while they are in use: indices, WQEs, CQEs
    #[arg(long)]
    scribble: bool,

    #[command(flatten)]
    output: OutputArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    eprintln!("{PROGRAM}: seed {}", args.seed);
    let result = supervisor::run(&Plan {
        device: args.device,
        local: args.local,
        peer: args.peer,
        port: args.udp,
        seed: args.seed,
        time: args.seconds,
        processes: args.processes,
        threads: args.threads,
        kill_every: args.kill_every,
        strangers: match args.strangers {
            true => Strangers::Some,
            false => Strangers::None,
        },
        manners: match args.scribble {
            true => Manners::Scribbling,
            false => Manners::Good,
        },
    });
    cli::finish(PROGRAM, args.output, result)
}
