// SPDX-License-Identifier: GPL-2.0

//! Checks a verbs device: a seeded random mix of operations, every byte and every CQE verified.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::EndsArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::endpoint::Device;
use verbs_clients::verify::large;
use verbs_clients::verify::large::LargeReport;
use verbs_clients::verify::settings::Duty;
use verbs_clients::verify::settings::Settings;
use verbs_clients::verify::settings::Variant;
use verbs_clients::verify::setup;
use verbs_clients::verify::setup::Run;
use verbs_clients::verify::tally::Tally;
use verbs_clients::verify::tiled;
use verbs_clients::verify::tiled::TiledReport;

const PROGRAM: &str = "verbs-verify";

/// Check a verbs device: a seeded random mix of SEND, WRITE and READ in both directions over
/// several queue pairs, with every byte of memory and every completion verified.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    ends: EndsArgs,

    /// Seed of all randomness: the same seed repeats the same operations
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Ways of using the device to run, one after the other [default: all]
    #[arg(long, value_enum)]
    variant: Vec<Variant>,

    /// Rounds per variant
    #[arg(long, default_value_t = 16, conflicts_with = "seconds")]
    iterations: u64,

    /// Run for this time in all, in place of a number of rounds
    #[arg(long, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Run each variant until this file exists, in place of a number of rounds; at least one round
    #[arg(long, value_name = "FILE", conflicts_with_all = ["iterations", "seconds"])]
    until: Option<PathBuf>,

    /// Queue pairs
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    qps: u16,

    /// The longest message of the random mix (suffixes K, M, G)
    #[arg(long, default_value = "1M", value_parser = cli::size)]
    max_message: usize,

    /// Post receives late in one of so many rounds, so that the peer meets RNR; 0 for never
    #[arg(long, value_name = "ROUNDS", default_value_t = 4)]
    late_receives: u64,

    /// Also a WRITE and a READ of this size; needs as much memory at each end
    #[arg(long, default_value = "0", value_parser = cli::size)]
    large: usize,

    /// Also a WRITE, a READ and a SEND of this size, a multiple of 4M; needs little memory, for all but the ends
    /// of these messages is the same few pages
    #[arg(long, default_value = "0", value_parser = cli::size)]
    tiled: usize,
}

#[derive(Serialize)]
struct VariantReport {
    variant: Variant,
    /// Set when the variant could not be run, with the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
    #[serde(flatten)]
    tally: Tally,
    seconds: f64,
}

#[derive(Serialize)]
struct Report {
    side: Side,
    device: String,
    gid: String,
    peer_gid: String,
    mtu: usize,
    seed: u64,
    variants: Vec<VariantReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    large: Option<LargeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiled: Option<TiledReport>,
}

fn run(args: &Args, device: &Device, side: Side, peer: &mut Peer) -> Result<Report> {
    let path = device.agree_path(peer)?;
    let settings = peer.agree(side, settings(args))?;
    let run = Run {
        device,
        path: &path,
        side,
        settings: &settings,
        limit: args.ends.timeout,
    };
    let mut variants = Vec::new();
    for &variant in &settings.variants {
        let start = Instant::now();
        let tally = setup::run_variant(&run, peer, variant)
            .with_context(|| format!("seed {}", settings.seed))?;
        variants.push(VariantReport {
            variant,
            skipped: tally
                .is_none()
                .then_some("an end has no shared receive queue of the size needed"),
            tally: tally.unwrap_or_default(),
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    let large = match settings.large {
        0 => None,
        bytes => Some(large::run(&run, peer, bytes).context("large message")?),
    };
    let tiled = match settings.tiled {
        0 => None,
        bytes => Some(tiled::run(&run, peer, bytes).context("tiled message")?),
    };
    Ok(Report {
        side,
        device: device.context.name().to_string(),
        gid: path.local.to_string(),
        peer_gid: path.address.dgid.to_string(),
        mtu: path.mtu.bytes(),
        seed: settings.seed,
        variants,
        large,
        tiled,
    })
}

fn settings(args: &Args) -> Settings {
    let variants = if args.variant.is_empty() {
        Variant::ALL.to_vec()
    } else {
        args.variant.clone()
    };
    let duty = match (&args.until, args.seconds) {
        (Some(file), _) => Duty::Until(file.clone()),
        (None, Some(time)) => Duty::Time(time / variants.len() as u32),
        (None, None) => Duty::Rounds(args.iterations),
    };
    Settings {
        seed: args.seed,
        variants,
        duty,
        qps: args.qps.into(),
        max_message: args.max_message,
        late_receives: args.late_receives,
        large: args.large,
        tiled: args.tiled,
    }
}

impl Verdict for Report {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{} {} -> {}, MTU {}, seed {}",
            self.device, self.gid, self.peer_gid, self.mtu, self.seed
        )];
        for part in &self.variants {
            let tally = &part.tally;
            lines.push(match part.skipped {
                Some(reason) => format!("{}: skipped: {reason}", part.variant),
                None => format!(
                    "{}: {} rounds, {} SEND, {} SEND_WITH_IMM, {} WRITE, {} WRITE_WITH_IMM, {} READ, {} bytes posted, {} messages received, {:.1} s: all bytes and completions right",
                    part.variant,
                    tally.rounds,
                    tally.send,
                    tally.send_imm,
                    tally.write,
                    tally.write_imm,
                    tally.read,
                    tally.bytes,
                    tally.received,
                    part.seconds
                ),
            });
        }
        let took = |seconds: Option<f64>| {
            seconds.map_or(String::new(), |seconds| format!(" in {seconds:.1} s"))
        };
        if let Some(large) = &self.large {
            lines.push(format!(
                "large: {} bytes, WRITE{}, READ{}: all bytes right",
                large.bytes,
                took(large.write_seconds),
                took(large.read_seconds)
            ));
        }
        if let Some(tiled) = &self.tiled {
            lines.push(format!(
                "tiled: {} bytes, WRITE{}, READ{}, SEND{}: all bytes right",
                tiled.bytes,
                took(tiled.write_seconds),
                took(tiled.read_seconds),
                took(tiled.send_seconds)
            ));
        }
        lines.join("\n")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(PROGRAM, &args.ends, |device, side, peer| {
        run(&args, device, side, peer)
    })
}
