// SPDX-License-Identifier: GPL-2.0

//! Random arguments to everything that a verbs device's node understands.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Result;
use clap::Parser;
use nix::errno::Errno;
use nix::libc;
use serde::Serialize;

use verbs_clients::child::Child;
use verbs_clients::child::Ended;
use verbs_clients::cli;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::dice::Dice;
use verbs_clients::hostile::fuzz::Fuzzer;
use verbs_clients::hostile::limits;
use verbs_clients::hostile::user::User;
use verbs_clients::uverbs::node_of;
use verbs_clients::uverbs::Mapping;

const PROGRAM: &str = "uverbs-fuzz";

/// Pause between two looks at the children.
const TICK: Duration = Duration::from_millis(20);
/// How often progress is shown.
const SHOW: Duration = Duration::from_secs(5);

/// Give random and boundary arguments to every command and method of a verbs device's node, and to mmap, from several
/// processes with narrow limits, of which some are killed.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    /// Verbs device
    #[arg(long)]
    device: String,

    /// Seed of all that is chosen
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Run for this time
    #[arg(long, default_value = "30", value_parser = cli::seconds)]
    seconds: Duration,

    /// Processes
    #[arg(long, default_value_t = 3)]
    processes: usize,

    /// Give up all rights first
    #[arg(long)]
    nobody: bool,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    seed: u64,
    seconds: f64,
    processes: u64,
    accepted: u64,
    refused: u64,
    mapped: u64,
}

/// What all processes count in.
struct Counters(Mapping);

impl Counters {
    fn add(&self, index: usize, value: u64) {
        self.0.double(index * 8).fetch_add(value, Ordering::Relaxed);
    }

    fn get(&self, index: usize) -> u64 {
        self.0.double(index * 8).load(Ordering::Relaxed)
    }
}

/// What a process does.
fn attack(node: &Path, user: User, seed: &[u64], counters: &Counters) -> i32 {
    /// Several spells, so that the counts of a killed process are not all lost.
    const SPELL: Duration = Duration::from_millis(200);
    const MOST_SPELLS: usize = 15;
    if let Err(error) = user.become_it() {
        eprintln!("{PROGRAM}: give up all rights: {error}");
        return 2;
    }
    let mut dice = Dice::new(seed);
    grow_stack();
    limits::set_random(&mut dice);
    let spells = 1 + dice.below(MOST_SPELLS);
    let mut fuzzer = match Fuzzer::new(node, dice) {
        Ok(fuzzer) => fuzzer,
        // The limits are too narrow.
        Err(Errno::EMFILE | Errno::ENOMEM) => return 0,
        Err(error) => {
            eprintln!("{PROGRAM}: open the device: {error}");
            return 2;
        }
    };
    let mut before = Default::default();
    for _ in 0..spells {
        let done = fuzzer.run(SPELL);
        let verbs_clients::hostile::fuzz::Done {
            accepted,
            refused,
            mapped,
        } = before;
        counters.add(0, done.accepted - accepted);
        counters.add(1, done.refused - refused);
        counters.add(2, done.mapped - mapped);
        before = done;
    }
    0
}

/// Has the stack grow now: later there may be no address space left for it, of which the process would die.
#[inline(never)]
fn grow_stack() {
    const MOST: usize = 256 << 10;
    std::hint::black_box(&mut [0u8; MOST]);
}

/// A process ended; most ways are fine, because it may have mapped over its own descriptors and memory.
fn judge(ended: Ended) -> Result<()> {
    match ended {
        Ended::Code(0) | Ended::Signal(libc::SIGKILL | libc::SIGABRT) => Ok(()),
        other => bail!("a process ended with {other:?}"),
    }
}

fn run(args: &Args) -> Result<Report> {
    let node = node_of(&args.device)?;
    let user = match args.nobody {
        true => User::Nobody,
        false => User::Unchanged,
    };
    let counters = Counters(Mapping::shared(4096)?);
    let began = Instant::now();
    let mut dice = Dice::new(&[args.seed]);
    let mut children: Vec<Child> = Vec::new();
    let (mut started, mut shown) = (0, began);
    let report = |started: u64| Report {
        seed: args.seed,
        seconds: began.elapsed().as_secs_f64(),
        processes: started,
        accepted: counters.get(0),
        refused: counters.get(1),
        mapped: counters.get(2),
    };
    while began.elapsed() < args.seconds {
        while children.len() < args.processes {
            started += 1;
            let seed = [args.seed, started];
            children.push(Child::fork(|| attack(&node, user, &seed, &counters))?);
        }
        if dice.once_in(100) {
            let victim = dice.below(children.len());
            children[victim].kill();
        }
        let mut running = Vec::new();
        for child in children {
            match child.ended()? {
                None => running.push(child),
                Some(ended) => judge(ended)?,
            }
        }
        children = running;
        if shown.elapsed() > SHOW {
            shown = Instant::now();
            eprintln!("{PROGRAM}: {}", report(started).text());
        }
        thread::sleep(TICK);
    }
    for child in &mut children {
        judge(child.finish(Duration::from_secs(10))?)?;
    }
    Ok(report(started))
}

impl Verdict for Report {
    fn text(&self) -> String {
        format!(
            "seed {}: {} processes in {:.0} s: {} calls accepted, {} refused, {} mappings",
            self.seed, self.processes, self.seconds, self.accepted, self.refused, self.mapped
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    eprintln!("{PROGRAM}: seed {}", args.seed);
    cli::finish(PROGRAM, args.output, run(&args))
}
