// SPDX-License-Identifier: GPL-2.0

//! Makes verbs objects until there can be no more.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use nix::errno::Errno;
use nix::libc;
use serde::Serialize;

use verbs_clients::cli;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::hostile::exhaust::available_memory;
use verbs_clients::hostile::exhaust::End;
use verbs_clients::hostile::exhaust::Hoard;
use verbs_clients::hostile::exhaust::Kind;
use verbs_clients::hostile::limits;
use verbs_clients::hostile::user::User;
use verbs_clients::uverbs::gid_of;
use verbs_clients::uverbs::index_of;
use verbs_clients::uverbs::node_of;
use verbs_clients::uverbs::Destination;
use verbs_clients::uverbs::QpPlan;
use verbs_clients::uverbs::Session;

const PROGRAM: &str = "verbs-exhaust";

/// How far the numbers of two rounds may be apart when memory was what ended them, as a part of the first.
const TOLERANCE: usize = 5;

/// Make as many verbs objects of each kind as there can be, twice: as many the second time, and destroying them gives
/// back what they took.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    /// Verbs device
    #[arg(long)]
    device: String,

    /// Address of this host on the device's interface
    #[arg(long)]
    local: IpAddr,

    /// Kinds of objects [default: all]
    #[arg(long, value_enum)]
    kind: Vec<Kind>,

    /// At most so many of each
    #[arg(long, default_value_t = usize::MAX)]
    most: usize,

    /// Depth of queues
    #[arg(long, default_value_t = 1)]
    depth: u32,

    /// Stop when the host has less memory left
    #[arg(long, default_value = "192M", value_parser = cli::size)]
    floor: usize,

    /// Give up all rights first
    #[arg(long)]
    nobody: bool,

    /// Say "full", or how many strangers were accepted, and keep the objects of the first round until standard input ends; then end without destroying them
    #[arg(long)]
    hold: bool,

    /// In place of all that, lead a queue pair each to so many hosts that do not exist, from the last address of the network on down: their
    /// hardware addresses have to be known
    #[arg(long, value_name = "HOSTS")]
    strangers: Option<u8>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct KindReport {
    kind: Kind,
    counts: Vec<usize>,
    ends: Vec<End>,
    memory_before: u64,
    memory_full: u64,
    memory_after: u64,
}

#[derive(Serialize)]
struct Report {
    kinds: Vec<KindReport>,
    /// How many of the strangers were accepted.
    strangers: Option<u32>,
}

fn exhaust(args: &Args, node: &Path, kind: Kind, to: Destination) -> Result<KindReport> {
    const ROUNDS: usize = 2;
    let mut report = KindReport {
        kind,
        counts: Vec::new(),
        ends: Vec::new(),
        memory_before: available_memory(),
        memory_full: 0,
        memory_after: 0,
    };
    for _ in 0..ROUNDS {
        let mut hoard = Hoard::new(node, kind, args.depth, to)
            .with_context(|| format!("{kind:?}: the first objects"))?;
        let end = hoard.fill(node, args.most, args.floor as u64);
        report.counts.push(hoard.len());
        report.ends.push(end);
        report.memory_full = available_memory();
        ensure!(
            hoard.len() > 0,
            "{kind:?}: none could be made: {:?}",
            report.ends
        );
        eprintln!("{PROGRAM}: {kind:?}: {} {:?}", hoard.len(), report.ends);
        if args.hold {
            hold("full");
        }
        hoard
            .empty()
            .with_context(|| format!("{kind:?}: destroy them"))?;
    }
    report.memory_after = available_memory();
    let (first, second) = (report.counts[0], report.counts[1]);
    let slack = match report.ends.contains(&End::LittleMemory) {
        true => first / TOLERANCE,
        false => 0,
    };
    ensure!(
        first.abs_diff(second) <= slack,
        "{kind:?}: {first} objects, and {second} the second time"
    );
    Ok(report)
}

/// Queue pairs that were led to hosts, as far as that was allowed.
struct Strangers {
    _session: Session,
    accepted: u32,
}

/// Leads a queue pair each to `count` hosts of the network that do not exist, but whose hardware addresses are known.
fn meet_strangers(node: &Path, count: u8, own: Destination) -> Result<Strangers> {
    let session = Session::open(node)?;
    let pd = session.alloc_pd()?;
    let cq = session.create_cq(1)?.handle;
    let plan = QpPlan {
        pd,
        send_cq: cq,
        recv_cq: cq,
        srq: None,
        depth: 1,
        elements: 1,
        inline: 0,
    };
    let mut accepted = 0;
    for number in 0..count {
        let mut gid = own.gid;
        gid[15] = u8::MAX - 1 - number;
        let qp = session.create_qp(&plan)?.handle;
        session.to_init(qp)?;
        match session.to_rtr(qp, Destination { gid, ..own }) {
            Ok(()) => accepted += 1,
            // As it should be, some time.
            Err(Errno::ENXIO) => {}
            Err(other) => bail!("stranger {number}: {other}"),
        }
    }
    Ok(Strangers {
        _session: session,
        accepted,
    })
}

/// Tells whoever waits that all is there, and keeps it until there is nothing more to be read. Then ends without destroying it.
fn hold(what: &str) -> ! {
    println!("{what}");
    // Whatever comes, and when nothing comes any more.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

fn run(args: &Args) -> Result<Report> {
    let node = node_of(&args.device)?;
    let to = Destination {
        gid: gid_of(args.local),
        source_index: index_of(&args.device, args.local)?,
        number: 0,
    };
    if !args.nobody {
        const MOST_FILES: u64 = 1 << 20;
        limits::set(libc::RLIMIT_NOFILE, MOST_FILES).context("allow many files")?;
        limits::set(libc::RLIMIT_MEMLOCK, libc::RLIM_INFINITY).context("allow much memory")?;
    }
    match args.nobody {
        true => User::Nobody,
        false => User::Unchanged,
    }
    .become_it()
    .context("give up all rights")?;
    if let Some(count) = args.strangers {
        let strangers = meet_strangers(&node, count, to)?;
        if args.hold {
            hold(&strangers.accepted.to_string());
        }
        return Ok(Report {
            kinds: Vec::new(),
            strangers: Some(strangers.accepted),
        });
    }
    let kinds = match args.kind.is_empty() {
        true => &Kind::ALL[..],
        false => &args.kind,
    };
    let reports = kinds.iter().map(|kind| exhaust(args, &node, *kind, to));
    Ok(Report {
        kinds: reports.collect::<Result<_>>()?,
        strangers: None,
    })
}

impl Verdict for Report {
    fn text(&self) -> String {
        let lines = self.kinds.iter().map(|kind| {
            format!(
                "{:?}: {:?} objects, {:?}; {} MiB free before, {} when full, {} after",
                kind.kind,
                kind.counts,
                kind.ends,
                kind.memory_before >> 20,
                kind.memory_full >> 20,
                kind.memory_after >> 20
            )
        });
        let strangers = self
            .strangers
            .map(|count| format!("{count} strangers accepted"));
        lines.chain(strangers).collect::<Vec<_>>().join("\n")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(PROGRAM, args.output, run(&args))
}
