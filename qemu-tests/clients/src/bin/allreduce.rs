// SPDX-License-Identifier: GPL-2.0

//! Ring all-reduce over verbs, in the way of NCCL's IB transport.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::allreduce::collective;
use verbs_clients::allreduce::collective::Figures;
use verbs_clients::allreduce::collective::Job;
use verbs_clients::allreduce::latency;
use verbs_clients::allreduce::latency::Arrival;
use verbs_clients::allreduce::latency::Latency;
use verbs_clients::allreduce::ring::Neighbours;
use verbs_clients::allreduce::ring::Ring;
use verbs_clients::allreduce::tensor;
use verbs_clients::cli;
use verbs_clients::cli::DeviceArgs;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::endpoint::Device;

const PROGRAM: &str = "allreduce";

/// Sum a float32 tensor over all ranks in a ring, in host memory, with the verbs calls of NCCL's IB
/// transport; every sum is checked.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    /// This process's rank, from 0
    #[arg(long, required_unless_present = "loopback", requires = "peers")]
    rank: Option<usize>,

    /// Number of ranks
    #[arg(long, default_value_t = 2)]
    ranks: usize,

    /// Bootstrap addresses of all ranks in order (host:port,host:port,...)
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,

    /// Run all ranks in this process, on one device
    #[arg(long, conflicts_with_all = ["rank", "peers"])]
    loopback: bool,

    /// Bytes of the tensor (suffixes K, M, G)
    #[arg(long, default_value = "64M", value_parser = cli::size)]
    bytes: usize,

    /// All-reduces in a row
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,

    /// Queue pairs per connection, as NCCL_IB_QPS_PER_CONNECTION
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    qps: u8,

    /// Bytes of a message at most (suffixes K, M)
    #[arg(long, default_value = "512K", value_parser = cli::size)]
    slice: usize,

    /// Rounds of each latency measurement; 0 for none
    #[arg(long, default_value_t = 1000)]
    latency_rounds: u64,

    /// Seconds without progress after which it counts as hung
    #[arg(long, default_value = "60", value_parser = cli::seconds)]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    device: String,
    rank: usize,
    ranks: usize,
    qps: u8,
    slice: usize,
    #[serde(flatten)]
    figures: Figures,
    /// One way, by WRITE with immediate data; measured by rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_write_imm: Option<Latency>,
    /// One way, by WRITE polled in memory; measured by rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_write: Option<Latency>,
}

fn run_rank(args: &Args, rank: usize, neighbours: Neighbours) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let mut ring = Ring::new(&device, rank, args.ranks, neighbours)?;
    let result = measure(args, &mut ring);
    if let Err(error) = &result {
        ring.neighbours.fail(error);
    }
    result
}

fn measure(args: &Args, ring: &mut Ring<'_>) -> Result<Report> {
    let job = Job {
        elements: args.bytes / tensor::ELEMENT,
        iterations: args.iterations as usize,
        qps: args.qps.into(),
        slice: args.slice / tensor::ELEMENT,
        limit: args.timeout,
    };
    let figures = collective::run(ring, &job)?;
    let mut latency = |arrival| match args.latency_rounds {
        0 => Ok(None),
        rounds => latency::run(ring, arrival, rounds, args.timeout).context("latency"),
    };
    let latency_write_imm = latency(Arrival::Completion)?;
    let latency_write = latency(Arrival::Memory)?;
    Ok(Report {
        device: ring.device.context.name().to_string(),
        rank: ring.rank,
        ranks: ring.ranks,
        qps: args.qps,
        slice: args.slice,
        figures,
        latency_write_imm,
        latency_write,
    })
}

fn check(args: &Args) -> Result<()> {
    ensure!(
        (2..=tensor::MAX_RANKS).contains(&args.ranks),
        "--ranks must be from 2 to {}",
        tensor::MAX_RANKS
    );
    ensure!(
        args.bytes > 0 && args.bytes % tensor::ELEMENT == 0,
        "--bytes must be a multiple of {}",
        tensor::ELEMENT
    );
    ensure!(
        args.slice > 0 && args.slice % tensor::ELEMENT == 0,
        "--slice must be a multiple of {}",
        tensor::ELEMENT
    );
    if let Some(rank) = args.rank {
        ensure!(
            args.peers.len() == args.ranks,
            "--peers names {} addresses for {} ranks",
            args.peers.len(),
            args.ranks
        );
        ensure!(rank < args.ranks, "--rank must be below {}", args.ranks);
    }
    Ok(())
}

fn run(args: &Args) -> Result<Report> {
    check(args)?;
    if let Some(rank) = args.rank {
        let neighbours = Neighbours::connect(&args.peers, rank, args.timeout)?;
        return run_rank(args, rank, neighbours);
    }
    let all = Neighbours::within_process(args.ranks, args.timeout)?;
    thread::scope(|scope| {
        let ranks: Vec<_> = all
            .into_iter()
            .enumerate()
            .map(|(rank, neighbours)| scope.spawn(move || run_rank(args, rank, neighbours)))
            .collect();
        let mut reports = Vec::new();
        for (rank, thread) in ranks.into_iter().enumerate() {
            let result = thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("its thread panicked")));
            reports.push(result.with_context(|| format!("rank {rank}")));
        }
        // Rank 0 measures the latency; the others only must not fail.
        let all: Vec<Report> = reports.into_iter().collect::<Result<_>>()?;
        all.into_iter().next().context("at least two ranks")
    })
}

impl Verdict for Report {
    fn text(&self) -> String {
        let figures = &self.figures;
        let mut lines = vec![format!(
            "{} rank {} of {}: {} bytes in {} messages, {} all-reduces: algorithm {:.3} Gb/s, bus {:.3} Gb/s, {} bytes verified",
            self.device,
            self.rank,
            self.ranks,
            figures.bytes,
            figures.messages,
            figures.seconds.len(),
            figures.algorithm_gbps,
            figures.bus_gbps,
            figures.verified_bytes
        )];
        let ways = [
            ("WRITE_WITH_IMM", self.latency_write_imm),
            ("WRITE, polled", self.latency_write),
        ];
        for (name, latency) in ways {
            if let Some(latency) = latency {
                lines.push(format!(
                    "8 bytes one way by {name}: p50 {:.1} us, p99 {:.1} us over {} rounds",
                    latency.p50_us, latency.p99_us, latency.rounds
                ));
            }
        }
        lines.join("\n")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(PROGRAM, args.output, run(&args))
}
