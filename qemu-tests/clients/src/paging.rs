// SPDX-License-Identifier: GPL-2.0

//! Memory regions whose pages are found on demand: what is in memory is what is sent, and what arrives is in memory, whatever
//! becomes of its pages meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::fork;
use nix::unistd::ForkResult;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::Device;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Binding;
use crate::verbs::Buffer;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Mw;
use crate::verbs::MwType;
use crate::verbs::Operation;
use crate::verbs::Pages;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Sge;
use crate::verbs::Srq;
use crate::verbs::Status;

/// Where messages begin: pages are not filled to their ends.
const HEAD: usize = 100;
/// The part of a SEND that is in pinned memory, and of what it is received into.
const PINNED: usize = 5_000;

/// How long a child lives with the pages it shares.
const CHILD_LIFE_US: u32 = 2_000;

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE.union(Access::REMOTE_READ),
    timeout: 18,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: 4,
};

/// How memory is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Registration {
    /// Range by range.
    Explicit,
    /// All that the process has.
    Implicit,
}

/// Where receives are posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceiveFrom {
    /// The receive queue of the queue pair.
    Own,
    /// A queue that all queue pairs of an end share.
    Shared,
}

/// Where pages go that are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Swap {
    /// There is none.
    Absent,
    /// Each host has some, and every fourth message is one whose pages are put there all the time.
    Present,
}

/// What is to be done; the client's rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Bytes of a message.
    pub bytes: usize,
    /// Number of messages; more if there is a file to wait for.
    pub count: usize,
    /// The client goes on until this file exists.
    pub until: Option<PathBuf>,
    /// How memory is registered.
    pub registration: Registration,
    /// Where receives are posted to.
    pub receive_from: ReceiveFrom,
    /// Whether there is swap.
    pub swap: Swap,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Messages that were transferred.
    pub messages: usize,
    /// How often pages were forgotten, swapped out, or shared with a child, meanwhile.
    pub disturbances: usize,
    /// The most memory that was seen in swap, in KiB.
    pub swapped_kib: usize,
    /// Messages that came out different, here or there.
    pub wrong: usize,
}

/// What becomes of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// It is new for each message, and has no pages before it is touched.
    Renewed,
    /// Its pages are unmapped all the time.
    Forgotten,
    /// It is shared with children all the time.
    Forked,
    /// It is put into swap all the time.
    SwappedOut,
}

/// Without swap, the last of them is left out.
const DISTURBANCES: [Disturbance; 4] = [
    Disturbance::Renewed,
    Disturbance::Forgotten,
    Disturbance::Forked,
    Disturbance::SwappedOut,
];

/// How a message gets from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// The client writes it.
    Write,
    /// The client reads it.
    Read,
    /// The client sends it.
    Send,
}

const TRANSFERS: [Transfer; 3] = [Transfer::Write, Transfer::Read, Transfer::Send];

#[derive(Serialize, Deserialize)]
struct Offer {
    qps: [QpAddress; 3],
    memory: RemoteAddr,
}

/// Transfers the messages, and then has memory that is not there accessed.
pub fn run(
    device: &Device,
    side: Side,
    peer: &mut Peer,
    job: Job,
    limit: Duration,
) -> Result<(Job, Finding)> {
    let job = peer.agree(side, job)?;
    ensure!(
        job.bytes > 2 * PINNED,
        "a message has more than {} bytes",
        2 * PINNED
    );
    let path = device.agree_path(peer)?;
    let pd = Pd::new(&device.context)?;
    let cq = Cq::new(&device.context, 16, None)?;
    let buffer = Buffer::new(HEAD + job.bytes)?;
    let pinned_buffer = Buffer::new(PINNED)?;
    let access = Access::LOCAL_WRITE | Access::MW_BIND | TUNING.access;
    let memory = match job.registration {
        Registration::Explicit => {
            Mr::new(&pd, &buffer, 0..buffer.len(), access | Access::ON_DEMAND)?
        }
        Registration::Implicit => Mr::implicit(&pd, &buffer, access)?,
    };
    let pinned = Mr::new(&pd, &pinned_buffer, 0..PINNED, access)?;
    let capacity = QpCapacity {
        send_wr: 4,
        recv_wr: 4,
        send_sge: 3,
        recv_sge: 3,
        inline: 0,
    };
    let shared_queue = match job.receive_from {
        ReceiveFrom::Own => None,
        ReceiveFrom::Shared => Some(Srq::new(&pd, capacity.recv_wr, capacity.recv_sge)?),
    };
    let make = || {
        Qp::new(
            &pd,
            &QpInit {
                send_cq: &cq,
                recv_cq: &cq,
                srq: shared_queue.as_ref(),
                capacity,
            },
        )
    };
    let qps = [make()?, make()?, make()?];
    let psn = Psn(0);
    let theirs: Offer = peer.exchange(&Offer {
        qps: [0, 1, 2].map(|index: usize| QpAddress {
            qpn: qps[index].qpn(),
            psn,
        }),
        memory: memory.remote(),
    })?;
    for (qp, address) in qps.iter().zip(theirs.qps) {
        endpoint::connect(qp, &path, &TUNING, psn, address)?;
    }
    let ends = Ends {
        side,
        cq: &cq,
        shared_queue: shared_queue.as_ref(),
        buffer: &buffer,
        pinned_buffer: &pinned_buffer,
        memory: &memory,
        pinned: &pinned,
        theirs: theirs.memory,
        bytes: job.bytes,
        limit,
    };
    let disturbances = match job.swap {
        Swap::Absent => &DISTURBANCES[..DISTURBANCES.len() - 1],
        Swap::Present => &DISTURBANCES,
    };
    let mut finding = Finding::default();
    for number in 0.. {
        if !goes_on(&job, side, peer, number)? {
            break;
        }
        let transfer = TRANSFERS[number % TRANSFERS.len()];
        let disturbance = disturbances[number / TRANSFERS.len() % disturbances.len()];
        ends.message(&qps[0], peer, number, transfer, disturbance, &mut finding)
            .with_context(|| format!("message {number}: {transfer:?}, {disturbance:?}"))?;
    }
    ends.through_window(&qps[0], &pd, peer, &mut finding)?;
    ends.access_nothing(&qps[1], &qps[2], peer)?;
    let theirs: Finding = peer.exchange(&finding)?;
    finding.wrong += theirs.wrong;
    finding.disturbances += theirs.disturbances;
    finding.swapped_kib = finding.swapped_kib.min(theirs.swapped_kib);
    Ok((job, finding))
}

/// Whether there is a message with that number.
fn goes_on(job: &Job, side: Side, peer: &mut Peer, number: usize) -> Result<bool> {
    let is_awaited = |file: &PathBuf| !file.exists();
    let ours = number < job.count || job.until.as_ref().is_some_and(is_awaited);
    let theirs = peer.exchange(&ours)?;
    // The file is the client's.
    Ok(match side {
        Side::Client => ours,
        Side::Server => theirs,
    })
}

/// What both ends have.
struct Ends<'a> {
    side: Side,
    cq: &'a Cq<'a>,
    shared_queue: Option<&'a Srq<'a>>,
    buffer: &'a Buffer,
    pinned_buffer: &'a Buffer,
    memory: &'a Mr<'a>,
    pinned: &'a Mr<'a>,
    theirs: RemoteAddr,
    bytes: usize,
    limit: Duration,
}

impl Ends<'_> {
    /// Transfers a message and looks at it.
    fn message(
        &self,
        qp: &Qp<'_>,
        peer: &mut Peer,
        number: usize,
        transfer: Transfer,
        disturbance: Disturbance,
        finding: &mut Finding,
    ) -> Result<()> {
        match disturbance {
            Disturbance::Forgotten => self.buffer.share()?,
            Disturbance::Renewed | Disturbance::Forked | Disturbance::SwappedOut => {
                self.buffer.renew()?;
            }
        }
        let contents: Vec<u8> = (0..self.bytes)
            .map(|at| (at * 7 + at / 251 + number * 31) as u8)
            .collect();
        let is_source = (self.side == Side::Client) == (transfer != Transfer::Read);
        if is_source {
            self.put(transfer, &contents);
        }
        if self.side == Side::Server && transfer == Transfer::Send {
            let requests = [RecvRequest {
                wr_id: number as u64,
                sges: &self.mixed(),
            }];
            match self.shared_queue {
                Some(queue) => queue.post_recv(&requests)?,
                None => qp.post_recv(&requests)?,
            }
        }
        peer.barrier("armed")?;
        let is_over = &AtomicBool::new(false);
        let pages = self.buffer.pages();
        thread::scope(|scope| {
            let disturber = scope.spawn(move || disturb(pages, disturbance, is_over));
            let transferred = self.transfer(qp, peer, number, transfer);
            is_over.store(true, Ordering::Relaxed);
            let disturbed = disturber.join().expect("the thread does not panic")?;
            finding.disturbances += disturbed.count;
            finding.swapped_kib = finding.swapped_kib.max(disturbed.swapped_kib);
            transferred
        })?;
        if self.get(transfer) != contents {
            finding.wrong += 1;
        }
        finding.messages += 1;
        peer.barrier("seen")
    }

    fn transfer(
        &self,
        qp: &Qp<'_>,
        peer: &mut Peer,
        number: usize,
        transfer: Transfer,
    ) -> Result<()> {
        let whole = [self.memory.sge(HEAD..HEAD + self.bytes)];
        let mixed = self.mixed();
        match (self.side, transfer) {
            (Side::Client, Transfer::Write) => self.request(qp, number, self.write(), &whole)?,
            (Side::Client, Transfer::Read) => {
                let remote = self.remote();
                self.request(qp, number, Operation::Read { remote }, &whole)?;
            }
            (Side::Client, Transfer::Send) => {
                self.request(qp, number, Operation::Send { imm: None }, &mixed)?;
            }
            (Side::Server, Transfer::Send) => self.succeed()?,
            (Side::Server, Transfer::Write | Transfer::Read) => {}
        }
        peer.barrier("transferred")
    }

    fn remote(&self) -> RemoteAddr {
        self.theirs.plus(HEAD)
    }

    fn write(&self) -> Operation {
        Operation::Write {
            remote: self.remote(),
            imm: None,
        }
    }

    /// A message with a part in pinned memory in its middle.
    fn mixed(&self) -> [Sge; 3] {
        let half = HEAD + self.bytes / 2;
        let rest = half..HEAD + self.bytes - PINNED;
        [
            self.memory.sge(HEAD..half),
            self.pinned.sge(0..PINNED),
            self.memory.sge(rest),
        ]
    }

    fn put(&self, transfer: Transfer, contents: &[u8]) {
        if transfer != Transfer::Send {
            return self.buffer.write(HEAD, contents);
        }
        let (first, rest) = contents.split_at(self.bytes / 2);
        let (pinned, last) = rest.split_at(PINNED);
        self.buffer.write(HEAD, first);
        self.pinned_buffer.write(0, pinned);
        self.buffer.write(HEAD + first.len(), last);
    }

    fn get(&self, transfer: Transfer) -> Vec<u8> {
        if transfer != Transfer::Send {
            return self.buffer.to_vec(HEAD..HEAD + self.bytes);
        }
        let half = HEAD + self.bytes / 2;
        let mut contents = self.buffer.to_vec(HEAD..half);
        contents.extend(self.pinned_buffer.to_vec(0..PINNED));
        contents.extend(self.buffer.to_vec(half..HEAD + self.bytes - PINNED));
        contents
    }

    fn post(&self, qp: &Qp<'_>, number: usize, operation: Operation, sges: &[Sge]) -> Result<()> {
        qp.post_send(&[SendRequest {
            wr_id: number as u64,
            operation,
            payload: Payload::Sges(sges),
            flags: SendFlags::SIGNALED,
        }])?;
        Ok(())
    }

    fn request(
        &self,
        qp: &Qp<'_>,
        number: usize,
        operation: Operation,
        sges: &[Sge],
    ) -> Result<()> {
        self.post(qp, number, operation, sges)?;
        self.succeed()
    }

    fn succeed(&self) -> Result<()> {
        match self.next_status()? {
            Status::SUCCESS => Ok(()),
            status => bail!("completed with {status}"),
        }
    }

    fn next_status(&self) -> Result<Status> {
        let begun = Instant::now();
        let mut found = Vec::new();
        while self.cq.poll(&mut found, 1)? == 0 {
            ensure!(
                begun.elapsed() < self.limit,
                "no completion within {:?}",
                self.limit
            );
            thread::yield_now();
        }
        Ok(found[0].status)
    }

    /// A WRITE through a window that is bound to the region finds pages as one by the region's key does.
    fn through_window(
        &self,
        qp: &Qp<'_>,
        pd: &Pd<'_>,
        peer: &mut Peer,
        finding: &mut Finding,
    ) -> Result<()> {
        let contents: Vec<u8> = (0..self.bytes).map(|at| (at / 3) as u8).collect();
        self.buffer.renew()?;
        let window = Mw::new(pd, MwType::One)?;
        let range = HEAD..HEAD + self.bytes;
        let binding = Binding::new(self.memory, range.clone(), Access::REMOTE_WRITE);
        qp.bind_type_1(0, &window, &binding)?;
        self.succeed().context("the window is bound")?;
        let remote: RemoteAddr = peer.exchange(&RemoteAddr {
            address: binding.address(),
            rkey: window.rkey(),
        })?;
        if self.side == Side::Client {
            self.buffer.write(HEAD, &contents);
            let write = Operation::Write { remote, imm: None };
            self.request(qp, 0, write, &[self.memory.sge(range)])
                .context("a WRITE through a window")?;
        }
        peer.barrier("written through the window")?;
        if self.buffer.to_vec(HEAD..HEAD + self.bytes) != contents {
            finding.wrong += 1;
        }
        peer.barrier("the windows may go")
    }

    /// Accesses by the client to memory that is not there fail, as those to memory without a region do.
    fn access_nothing(&self, first: &Qp<'_>, second: &Qp<'_>, peer: &mut Peer) -> Result<()> {
        let sges = [self.memory.sge(HEAD..HEAD + self.bytes)];
        self.buffer.renew()?;
        if self.side == Side::Server {
            self.buffer.vacate()?;
        }
        peer.barrier("the server has no memory")?;
        if self.side == Side::Client {
            self.post(first, 0, self.write(), &sges)?;
            let status = self.next_status()?;
            ensure!(
                status == Status::REM_ACCESS_ERR,
                "a WRITE to memory that is not there completed with {status}"
            );
        }
        peer.barrier("the client has found that")?;
        self.buffer.renew()?;
        if self.side == Side::Client {
            self.buffer.vacate()?;
            self.post(second, 0, self.write(), &sges)?;
            let status = self.next_status()?;
            ensure!(
                status == Status::LOC_PROT_ERR,
                "a WRITE from memory that is not there completed with {status}"
            );
            self.buffer.renew()?;
        }
        peer.barrier("neither has the client")
    }
}

/// What was done to pages while a message was transferred.
#[derive(Default)]
struct Disturbed {
    count: usize,
    swapped_kib: usize,
}

/// Does so with the pages until it is over.
fn disturb(pages: Pages, disturbance: Disturbance, is_over: &AtomicBool) -> Result<Disturbed> {
    let mut disturbed = Disturbed::default();
    while !is_over.load(Ordering::Relaxed) {
        match disturbance {
            Disturbance::Renewed => return Ok(disturbed),
            Disturbance::Forgotten => {
                pages.forget()?;
                thread::yield_now();
            }
            Disturbance::Forked => share_with_child()?,
            Disturbance::SwappedOut => {
                pages.swap_out()?;
                disturbed.swapped_kib = disturbed.swapped_kib.max(swapped_kib()?);
                thread::yield_now();
            }
        }
        disturbed.count += 1;
    }
    Ok(disturbed)
}

/// How much of the process's memory is in swap, in KiB.
fn swapped_kib() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmSwap:"));
    let value = value.context("the kernel has no swap (VmSwap is missing in /proc/self/status)")?;
    let number = value.trim().trim_end_matches("kB").trim();
    number.parse().with_context(|| format!("VmSwap: {value}"))
}

fn share_with_child() -> Result<()> {
    // SAFETY: The child calls what may be called there only, and ends.
    match unsafe { fork()? } {
        ForkResult::Child => {
            // SAFETY: Both functions are async-signal-safe.
            unsafe {
                libc::usleep(CHILD_LIFE_US);
                libc::_exit(0)
            }
        }
        ForkResult::Parent { child } => {
            waitpid(child, None)?;
        }
    }
    Ok(())
}
