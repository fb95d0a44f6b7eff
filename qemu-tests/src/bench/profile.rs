// SPDX-License-Identifier: GPL-2.0

//! Where the time goes while messages move: a sample of what the hosts and the cable execute, by perf on the machine that the lab runs
//! on.

use std::fs;
use std::path::Path;
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

mod family;
mod flame;
mod recorder;
mod stacks;
mod symbols;

use family::Family;
use recorder::Mappings;
use recorder::Recorder;
use stacks::Stacks;
use symbols::Symbols;

/// Functions that the table shows.
const SHOWN: usize = 40;

/// Time limit of a look at a guest's functions.
const LIMIT: Duration = Duration::from_secs(60);

/// The process that a processor has that has nothing to do, and its name here.
const IDLE: (i32, &str) = (0, "nothing to do");

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
    family: Family,
    symbols: Symbols,
}

impl Party {
    /// What perf is to know for this party's functions to be found.
    fn mappings(&self) -> Mappings {
        match self.symbols.is_empty() {
            true => Mappings::Known,
            false => Mappings::Unknown,
        }
    }
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
    for mappings in [Mappings::Known, Mappings::Unknown] {
        let data = output.join(format!("perf-{mappings:?}.data").to_lowercase());
        recorders.push((mappings, Recorder::start(mappings, &data)?));
    }
    let flowed = flow::run(testbed, &subject, count);
    let mut stacks = Stacks::default();
    for (mappings, recorder) in recorders {
        let script = recorder.stop()?.script()?;
        for party in parties.iter().filter(|party| party.mappings() == mappings) {
            stacks.add(&party.name, &script, party.family.clone(), &party.symbols);
        }
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
    if parties
        .iter()
        .all(|party| party.mappings() == Mappings::Known)
    {
        println!(
            "The hosts are QEMU's: this is of the emulator, and does not show what runs in them."
        );
    }
    Ok(())
}

/// The hosts and the cable, and who has a processor when nobody needs it.
fn parties(instance: &Instance) -> Result<Vec<Party>> {
    let (pid, name) = IDLE;
    let mut all = vec![Party {
        name: name.to_owned(),
        family: Family::new([pid]),
        symbols: Symbols::default(),
    }];
    for (name, pid) in instance.processes() {
        let is_host = instance.names().contains(&name);
        let symbols = match is_host {
            true => Symbols::parse(&instance.shell(&name, "cat /proc/kallsyms", LIMIT)?),
            false => Symbols::default(),
        };
        let family = Family::new(cpu_time::tree(pid)?);
        all.push(Party {
            name,
            family,
            symbols,
        });
    }
    Ok(all)
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
        let script = "7\n\t1 copy (x)\n\t2 send (x)\n\n7\n\t2 send (x)\n\n7\n\t3 idle (x)\n\t2 send (x)\n\n7\n\t1 copy (x)\n";
        stacks.add("a", script, Family::new([7]), &Symbols::default());
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
