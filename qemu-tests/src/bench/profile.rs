// SPDX-License-Identifier: GPL-2.0

//! Where the time goes while messages move: a sample of what the hosts and the cable execute, by perf on the machine that the lab runs
//! on.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::Table;

use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::flow;
use super::report::way;
use super::speed::Speed;
use super::target::size;
use super::testbed::Testbed;
use crate::building::progress::Step;
use crate::hosts::cpu_time;
use crate::hosts::instance::Instance;

mod flame;
mod recorder;
mod stacks;
mod symbols;

use recorder::Mappings;
use recorder::Recorder;
use stacks::Stacks;
use symbols::Symbols;

/// Functions that the table shows.
const SHOWN: usize = 40;

/// Time limit of a look at a guest's functions.
const LIMIT: Duration = Duration::from_secs(60);

/// How long processes of guests may still be ending: perf looks at none if one of those it is to look at is gone.
const SETTLE: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flow {
    /// RDMA WRITE by usb4_roce
    Write,
    /// RDMA READ by usb4_roce
    Read,
    /// SEND by usb4_roce
    Send,
    /// Bytes over a raw stream
    Stream,
    /// RDMA WRITE by rxe over thunderbolt_net
    RxeWrite,
    /// TCP over thunderbolt_net
    Tcp,
    /// TCP over usb4_roce's interface
    RoceTcp,
}

impl Flow {
    fn subject(self, bytes: u64) -> Subject {
        let (transport, verb) = match self {
            Self::Write => (Transport::Roce, Verb::Write),
            Self::Read => (Transport::Roce, Verb::Read),
            Self::Send => (Transport::Roce, Verb::Send),
            Self::Stream => (Transport::Stream, Verb::Bytes),
            Self::RxeWrite => (Transport::Rxe, Verb::Write),
            Self::Tcp => (Transport::Tcp, Verb::Bytes),
            Self::RoceTcp => (Transport::RoceTcp, Verb::Bytes),
        };
        Subject::new(Metric::Cpu, transport, verb, bytes)
    }
}

/// What is to be profiled.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What moves.
    pub flow: Flow,
    /// Bytes of a message.
    pub bytes: u64,
    /// About how long.
    pub time: Duration,
}

/// Processes that are looked at together.
struct Party {
    name: String,
    pids: Vec<i32>,
    symbols: Symbols,
}

/// Does it; what was found is written to `output`.
pub fn run(testbed: &Testbed<'_>, job: &Job, output: &Path) -> Result<()> {
    let subject = job.flow.subject(job.bytes);
    let speed = Speed::of(testbed, subject.transport)?;
    let count = speed.count(subject.bytes, subject.flows, job.time);
    let parties = parties(testbed.instance())?;
    let what = format!(
        "{count} messages of {}, {}",
        size(subject.bytes),
        way(subject.transport, subject.verb, subject.flows)
    );
    let step = Step::begin(&format!("look at {what}"));
    let mut recorders = Vec::new();
    for party in &parties {
        let mappings = match party.symbols.is_empty() {
            true => Mappings::Known,
            false => Mappings::Unknown,
        };
        let data = output.join(format!("perf-{}.data", party.name));
        recorders.push(Recorder::start(&party.pids, mappings, &data)?);
    }
    let flowed = flow::run(testbed, &subject, count);
    let mut stacks = Stacks::default();
    for (recorder, party) in recorders.into_iter().zip(&parties) {
        let recording = recorder.stop()?;
        stacks.add(&party.name, &recording.script()?, &party.symbols);
    }
    flowed?;
    step.done();
    write(&output.join("stacks.folded"), &stacks.folded())?;
    let svg = flame::draw(&what, &stacks).context("draw the flame graph")?;
    write(&output.join("flame.svg"), &svg)?;
    println!(
        "{what}, as the processor found them {} times",
        stacks.count()
    );
    println!("{}", table(&stacks));
    if parties.iter().all(|party| party.symbols.is_empty()) {
        println!(
            "The hosts are QEMU's: this is of the emulator, and does not show what runs in them."
        );
    }
    Ok(())
}

/// The hosts and the cable.
fn parties(instance: &Instance) -> Result<Vec<Party>> {
    let mut all = Vec::new();
    for (name, pid) in instance.processes() {
        let is_host = instance.names().contains(&name);
        let symbols = match is_host {
            true => Symbols::parse(&instance.shell(&name, "cat /proc/kallsyms", LIMIT)?),
            false => Symbols::default(),
        };
        all.push((name, pid, symbols));
    }
    thread::sleep(SETTLE);
    let party = |(name, pid, symbols)| {
        Ok(Party {
            pids: cpu_time::tree(pid)?,
            name,
            symbols,
        })
    };
    all.into_iter().map(party).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// The functions with the most samples of their own.
fn table(stacks: &Stacks) -> Table {
    let all = stacks.count().max(1) as f64;
    let percent = |count: u64| format!("{:.2}", count as f64 / all * 100.0);
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["% itself", "% with what it calls", "function"]);
    for function in stacks.functions().into_iter().take(SHOWN) {
        table.add_row([
            percent(function.own),
            percent(function.total),
            function.name,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_shares() {
        let mut stacks = Stacks::default();
        let script = "\t1 copy (x)\n\t2 send (x)\n\n\t2 send (x)\n\n\t3 idle (x)\n\t2 send (x)\n\n\t1 copy (x)\n";
        stacks.add("a", script, &Symbols::default());
        let text = table(&stacks).to_string();
        let row = |name: &str| {
            text.lines()
                .find(|line| line.contains(name))
                .unwrap()
                .to_owned()
        };
        assert!(row("copy").contains("50.00"), "{text}");
        assert!(
            row("send").contains("25.00") && row("send").contains("75.00"),
            "{text}"
        );
    }
}
