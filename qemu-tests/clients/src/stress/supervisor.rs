// SPDX-License-Identifier: GPL-2.0

//! Starts the processes of a host, kills them, starts new ones, and tells the other host of them.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::child::Child;
use crate::child::Ended;
use crate::cli::Verdict;
use crate::dice::Dice;
use crate::pattern::fold;
use crate::uverbs::gid_of;
use crate::uverbs::index_of;
use crate::uverbs::node_of;

use super::board::Board;
use super::board::PROCESSES;
use super::operation::Operation;
use super::worker;
use super::worker::Hosts;
use super::worker::Manners;
use super::worker::Strangers;
use super::worker::Task;

/// Pause between two looks at the children.
const TICK: Duration = Duration::from_millis(20);
/// How often the other host is told.
const TELL: Duration = Duration::from_millis(50);
/// How long an epoch lasts.
const EPOCH: Duration = Duration::from_secs(4);
/// How often progress is shown.
const SHOW: Duration = Duration::from_secs(5);
/// How long processes may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The verbs device.
    pub device: String,
    /// Address of this host on it.
    pub local: IpAddr,
    /// Address of the other host.
    pub peer: IpAddr,
    /// UDP port of both.
    pub port: u16,
    /// The seed.
    pub seed: u64,
    /// For how long.
    pub time: Duration,
    /// Number of processes.
    pub processes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Time between two kills, on average.
    pub kill_every: Duration,
    /// Whether hosts that do not exist are addressed too.
    pub strangers: Strangers,
    /// Whether queues are scribbled over.
    pub manners: Manners,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Report {
    seed: u64,
    seconds: f64,
    processes_started: u64,
    processes_killed: u64,
    completions: u64,
    failed_completions: u64,
    operations: u64,
    /// How often each succeeded and was refused.
    by_kind: BTreeMap<String, (u64, u64)>,
    /// Messages from the other host.
    heard: u64,
}

impl Verdict for Report {
    fn text(&self) -> String {
        format!(
            "seed {}: {} operations in {:.0} s, {} processes of which {} were killed, {} completions of which {} failed: {:?}",
            self.seed,
            self.operations,
            self.seconds,
            self.processes_started,
            self.processes_killed,
            self.completions,
            self.failed_completions,
            self.by_kind
        )
    }
}

struct Supervisor<'p> {
    plan: &'p Plan,
    node: &'p Path,
    hosts: Hosts,
    board: Board,
    socket: UdpSocket,
    children: Vec<Option<Child>>,
    started: u64,
    killed: u64,
    heard: u64,
}

/// Does what `plan` says.
pub fn run(plan: &Plan) -> Result<Report> {
    ensure!(
        (1..=PROCESSES).contains(&plan.processes),
        "1 to {PROCESSES} processes"
    );
    let node = node_of(&plan.device)?;
    let hosts = Hosts {
        own: gid_of(plan.local),
        index: index_of(&plan.device, plan.local)?,
        peer: gid_of(plan.peer),
    };
    let socket = UdpSocket::bind(SocketAddr::new(plan.local, plan.port)).context("bind")?;
    socket.set_nonblocking(true)?;
    let mut supervisor = Supervisor {
        plan,
        node: &node,
        hosts,
        board: Board::new().context("shared memory")?,
        socket,
        children: (0..plan.processes).map(|_| None).collect(),
        started: 0,
        killed: 0,
        heard: 0,
    };
    let began = Instant::now();
    let result = supervisor.supervise();
    supervisor.board.end();
    let finished = supervisor.finish();
    result.and(finished)?;
    Ok(supervisor.report(began.elapsed()))
}

impl Supervisor<'_> {
    fn supervise(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut dice = Dice::new(&[self.plan.seed]);
        let (mut told, mut shown) = (began, began);
        while began.elapsed() < self.plan.time {
            self.keep_running()?;
            // As often as asked for, on average.
            let ticks = self.plan.kill_every.as_millis() / TICK.as_millis();
            if dice.once_in(ticks.max(1) as usize) {
                let victim = dice.below(self.children.len());
                if let Some(child) = &mut self.children[victim] {
                    child.kill();
                    self.killed += 1;
                }
            }
            if told.elapsed() > TELL {
                told = Instant::now();
                self.tell(began.elapsed());
            }
            self.hear();
            if shown.elapsed() > SHOW {
                shown = Instant::now();
                eprintln!("verbs-stress: {}", self.report(began.elapsed()).text());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Starts what does not run.
    fn keep_running(&mut self) -> Result<()> {
        for process in 0..self.children.len() {
            if let Some(child) = &self.children[process] {
                match child.ended()? {
                    None => continue,
                    Some(ended) => self.judge(process, ended)?,
                }
            }
            self.started += 1;
            let task = Task {
                node: self.node,
                hosts: self.hosts,
                strangers: self.plan.strangers,
                manners: self.plan.manners,
                seed: fold(&[self.plan.seed, process as u64, self.started]),
                process,
                threads: self.plan.threads,
            };
            let board = &self.board;
            let child = Child::fork(|| match worker::run(&task, board) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("verbs-stress: open the device: {error}");
                    2
                }
            })?;
            self.children[process] = Some(child);
        }
        Ok(())
    }

    fn judge(&self, process: usize, ended: Ended) -> Result<()> {
        match ended {
            Ended::Code(0) | Ended::Signal(nix::libc::SIGKILL) => Ok(()),
            other => anyhow::bail!("process {process} ended with {other:?}"),
        }
    }

    fn tell(&self, elapsed: Duration) {
        // The host with the lower address is the clock of both.
        if self.plan.local < self.plan.peer {
            let epoch = elapsed.as_millis() / EPOCH.as_millis();
            self.board.set_epoch(epoch as u32);
        }
        // The other host may not be there, or no cable.
        let to = SocketAddr::new(self.plan.peer, self.plan.port);
        let _ = self.socket.send_to(&self.board.export(), to);
    }

    fn hear(&mut self) {
        let mut message = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut message) {
            if let Some(epoch) = self.board.import(&message[..len]) {
                self.heard += 1;
                if self.plan.local > self.plan.peer {
                    self.board.set_epoch(epoch);
                }
            }
        }
    }

    /// Waits until all processes have ended.
    fn finish(&mut self) -> Result<()> {
        let mut worst = Ok(());
        for process in 0..self.children.len() {
            if let Some(child) = &mut self.children[process] {
                let ended = child.finish(PATIENCE);
                let judged = ended.and_then(|ended| self.judge(process, ended));
                worst = worst.and(judged);
            }
        }
        worst
    }

    fn report(&self, elapsed: Duration) -> Report {
        let counted = |operation: Operation| self.board.counted(operation);
        let (completions, failed_completions) = self.board.completions();
        Report {
            seed: self.plan.seed,
            seconds: elapsed.as_secs_f64(),
            processes_started: self.started,
            processes_killed: self.killed,
            completions,
            failed_completions,
            operations: Operation::SHARES
                .iter()
                .map(|(_, operation)| counted(*operation))
                .map(|(done, refused)| done + refused)
                .sum(),
            by_kind: Operation::SHARES
                .iter()
                .map(|(_, operation)| (operation.name(), counted(*operation)))
                .collect(),
            heard: self.heard,
        }
    }
}
