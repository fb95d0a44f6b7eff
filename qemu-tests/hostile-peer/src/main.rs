// SPDX-License-Identifier: GPL-2.0

//! Plays a host at the other end of a cable that keeps no rule, for a kernel module that has to bear it.
//!
//! It speaks the wire format by the module's own core, and lies where it likes. What it does is determined by a seed, as far
//! as the other end's timing allows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use clap::Args;
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;

#[path = "../../../tests/support/checksum.rs"]
mod checksum;
#[path = "../../../tests/support/heap.rs"]
mod heap;
mod identity;
mod lie;
mod link;
mod packet;
mod player;
mod round;
mod stream;
mod target;

use link::Link;
use player::Players;
use round::Kind;
use round::Peer;
use target::Victim;

/// Plays a peer that keeps no rule
#[derive(Parser)]
#[command(name = "hostile-peer", version)]
enum Cli {
    /// Tells what the module would say about this host
    Identity {
        /// UUID of this host's router
        #[arg(long, value_parser = identity::uuid)]
        uuid: u128,
    },
    /// Plays
    Play(Play),
}

#[derive(Args)]
struct Play {
    /// The stream device
    #[arg(long, value_name = "DEVICE")]
    stream: PathBuf,
    /// What the victim offers, as written by `verbs-victim`
    #[arg(long, value_name = "FILE")]
    victim: Option<PathBuf>,
    /// The node GUID to show
    #[arg(long, value_parser = identity::guid)]
    guid: u64,
    /// The Ethernet address to show
    #[arg(long, value_parser = identity::mac)]
    mac: [u8; 6],
    /// The source of Ethernet frames [default: its own]
    #[arg(long, value_parser = identity::mac)]
    source: Option<[u8; 6]>,
    /// What happens
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Do nothing but this
    #[arg(long)]
    only: Option<Kind>,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    seed: u64,
    seconds: f64,
    rounds: BTreeMap<Kind, u64>,
    opens: u64,
    ups: u64,
    ends: u64,
    frames_heard: u64,
    bytes_written: u64,
    bytes_read: u64,
    requests_done: u64,
    lies: u64,
}

/// How much longer it lasts until a handshake succeeds.
const PATIENCE: Duration = Duration::from_secs(60);

fn play(cli: &Play) -> Result<Report> {
    let victim = match &cli.victim {
        Some(path) => Victim::read(path)?,
        None => Victim::default(),
    };
    let mut name = [0; NODE_NAME_LEN];
    name[..7].copy_from_slice(b"hostile");
    let identity = Identity {
        node_guid: NodeGuid(cli.guid),
        mac: cli.mac,
        features: Features::NONE,
        limits: Limits {
            max_payload: MAX_PAYLOAD,
            window: 256,
            max_rd_atomic: 16,
        },
        name,
    };
    let mut peer = Peer {
        device: &cli.stream,
        link: Link::new(&cli.stream, identity)?,
        players: Players::new(victim, ChaCha8Rng::seed_from_u64(cli.seed)),
        identity,
        source: cli.source.unwrap_or(cli.mac),
        rng: ChaCha8Rng::seed_from_u64(cli.seed),
    };
    let began = Instant::now();
    let mut rounds = BTreeMap::new();
    for number in 0u64.. {
        let is_heard = peer.link.counts().ups > 0 || cli.only.is_some_and(Kind::never_comes_up);
        let over = began
            .elapsed()
            .checked_sub(Duration::from_secs(cli.seconds));
        if over.is_some_and(|over| is_heard || over > PATIENCE) {
            break;
        }
        // Each round has its own chance: how the last one went must not change it.
        let mut rng = ChaCha8Rng::seed_from_u64(cli.seed);
        rng.set_stream(number);
        let drawn = Kind::draw(number, &mut rng);
        let kind = cli.only.unwrap_or(drawn);
        peer.rng = rng;
        eprintln!(
            "{:7.3} round {number}: {kind:?}",
            began.elapsed().as_secs_f64()
        );
        peer.play(kind).with_context(|| format!("round {number}"))?;
        *rounds.entry(kind).or_default() += 1;
    }
    let counts = peer.link.counts();
    Ok(Report {
        seed: cli.seed,
        seconds: began.elapsed().as_secs_f64(),
        rounds,
        opens: counts.opens,
        ups: counts.ups,
        ends: counts.ends,
        frames_heard: counts.heard,
        bytes_written: counts.written,
        bytes_read: counts.read,
        requests_done: peer.players.good,
        lies: peer.players.lies,
    })
}

fn run(cli: &Cli) -> Result<String> {
    Ok(match cli {
        Cli::Identity { uuid } => serde_json::to_string(&identity::of(*uuid))?,
        Cli::Play(options) => serde_json::to_string(&play(options)?)?,
    })
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostile-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
