// SPDX-License-Identifier: GPL-2.0

//! Atomic operations on words of the server, by the client's queue pairs and by the server's processor at once: each is carried
//! out once, and each finds what those before it have left.

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::Device;
use crate::endpoint::Path;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::flow::Sleeper;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::CompChannel;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Opcode;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Posting;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;

const WORD: usize = size_of::<u64>();

/// Words of the server, by their offset.
const COUNTER: usize = 0;
/// Counts, too, but by COMPARE AND SWAP.
const LOCK: usize = WORD;
/// Written as a whole: both of its halves are the same number.
const WHOLE: usize = 2 * WORD;
/// Not zero when the client is done.
const DONE: usize = 3 * WORD;
const WORDS: usize = 4 * WORD;

/// Requests of a queue pair that are under way at a time.
const DEPTH: usize = 8;

/// Kinds of requests that take turns.
const KINDS: u64 = 4;

/// How long the server's processor pauses between two rounds.
const PAUSE: Duration = Duration::from_micros(100);

/// How many of the lock's values the server takes before it leaves one to the client: who is far away would never be
/// in time.
const TURN: u32 = 8;

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_ATOMIC
        .union(Access::REMOTE_WRITE)
        .union(Access::FLUSH_GLOBAL),
    // With seven retries, cables may be out for more than ten seconds.
    timeout: 19,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: DEPTH as u8,
};

/// What is to be done; the client's rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Queue pairs of the client.
    pub qps: usize,
    /// Requests in all; more if there is a file to wait for.
    pub count: u64,
    /// The client goes on until this file exists.
    pub until: Option<PathBuf>,
}

/// What an end has done.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Times it has added one to the counter.
    pub added: u64,
    /// Times it has got the lock's next value in.
    pub swapped: u64,
    /// Times it has not, as somebody else had.
    pub missed: u64,
    /// Times it has written the word that is written as a whole.
    pub written: u64,
    /// Times it has flushed.
    pub flushed: u64,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    qps: Vec<QpAddress>,
    memory: RemoteAddr,
}

/// What is under way in a place of the client's memory.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Nothing,
    Add,
    Swap { expected: u64 },
    Write,
    Flush,
}

struct Client<'a> {
    qps: &'a [Qp<'a>],
    memory: &'a Mr<'a>,
    buffer: &'a Buffer,
    remote: RemoteAddr,
    /// By queue pair and place.
    pending: Vec<Pending>,
    /// What the counter was found to be last, by queue pair.
    counter: Vec<Option<u64>>,
    /// What the lock was found to be last.
    lock: u64,
    posted: u64,
    tally: Tally,
}

impl Client<'_> {
    fn at(&self, offset: usize) -> RemoteAddr {
        RemoteAddr {
            address: self.remote.address + offset as u64,
            rkey: self.remote.rkey,
        }
    }

    /// Posts the next request, whose answer goes to this place.
    fn post(&mut self, place: usize) -> Result<()> {
        let number = self.posted;
        self.posted += 1;
        let (operation, pending) = match number % KINDS {
            0 | 1 => {
                let remote = self.at(COUNTER);
                (Operation::FetchAdd { remote, add: 1 }, Pending::Add)
            }
            2 => {
                let operation = Operation::CompareSwap {
                    remote: self.at(LOCK),
                    compare: self.lock,
                    swap: self.lock + 1,
                };
                let expected = self.lock;
                (operation, Pending::Swap { expected })
            }
            _ if number % (2 * KINDS) < KINDS => {
                let half = number & u64::from(u32::MAX);
                let operation = Operation::AtomicWrite {
                    remote: self.at(WHOLE),
                    value: half << 32 | half,
                };
                (operation, Pending::Write)
            }
            _ => {
                let operation = Operation::Flush {
                    remote: self.at(0),
                    length: WORDS,
                };
                (operation, Pending::Flush)
            }
        };
        self.pending[place] = pending;
        let answer = place * WORD..(place + 1) * WORD;
        self.qps[place / DEPTH].post_send(&[SendRequest {
            wr_id: place as u64,
            operation,
            payload: Payload::Sges(&[self.memory.sge(answer)]),
            flags: SendFlags::SIGNALED,
        }])?;
        Ok(())
    }

    /// The request of this place is complete.
    fn complete(&mut self, place: usize, opcode: Opcode) -> Result<()> {
        let found = self.buffer.load_u64(place * WORD);
        let pending = std::mem::replace(&mut self.pending[place], Pending::Nothing);
        let expected = match pending {
            Pending::Nothing => anyhow::bail!("place {place} has completed twice"),
            Pending::Add => {
                self.tally.added += 1;
                let last = &mut self.counter[place / DEPTH];
                ensure!(
                    last.is_none_or(|last| last < found),
                    "the counter was {last:?}, and then {found}"
                );
                *last = Some(found);
                Opcode::FETCH_ADD
            }
            Pending::Swap { expected } => {
                if found == expected {
                    self.tally.swapped += 1;
                    self.lock = self.lock.max(found + 1);
                } else {
                    self.tally.missed += 1;
                    self.lock = self.lock.max(found);
                }
                Opcode::COMP_SWAP
            }
            Pending::Write => {
                self.tally.written += 1;
                Opcode::ATOMIC_WRITE
            }
            Pending::Flush => {
                self.tally.flushed += 1;
                Opcode::FLUSH
            }
        };
        ensure!(opcode == expected, "{pending:?} completed as {opcode}");
        Ok(())
    }

    fn run(&mut self, job: &Job, sleeper: &Sleeper<'_>) -> Result<()> {
        for place in 0..self.pending.len() {
            self.post(place)?;
        }
        let mut under_way = self.pending.len();
        while under_way > 0 {
            let completions = sleeper.next()?;
            let is_over =
                self.posted >= job.count && job.until.as_ref().is_none_or(|file| file.exists());
            for completion in completions {
                let place = completion.wr_id as usize;
                self.complete(place, completion.opcode)?;
                if is_over {
                    under_way -= 1;
                } else {
                    self.post(place)?;
                }
            }
        }
        // A request of its own: nothing else is under way.
        self.qps[0].post_send(&[SendRequest {
            wr_id: 0,
            operation: Operation::AtomicWrite {
                remote: self.at(DONE),
                value: 1,
            },
            payload: Payload::Sges(&[]),
            flags: SendFlags::SIGNALED,
        }])?;
        sleeper.next()?;
        Ok(())
    }
}

/// What the server's processor does to its own words, until the client is done.
fn serve(buffer: &Buffer, limit: Duration) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut expected, mut moved) = (0, Instant::now());
    let (mut left, mut taken) = (0, 0);
    while buffer.load_u64(DONE) == 0 {
        let before = buffer.fetch_add_u64(COUNTER, 1);
        tally.added += 1;
        if before != expected {
            moved = Instant::now();
        }
        expected = before + 1;
        ensure!(moved.elapsed() < limit, "the client does nothing");
        let lock = buffer.load_u64(LOCK);
        if lock != left {
            taken = 0;
        }
        if taken < TURN {
            if buffer.compare_swap_u64(LOCK, lock, lock + 1) {
                tally.swapped += 1;
                (left, taken) = (lock + 1, taken + 1);
            } else {
                tally.missed += 1;
            }
        }
        let whole = buffer.load_u64(WHOLE);
        ensure!(
            whole >> 32 == whole & u64::from(u32::MAX),
            "half of a word was written: {whole:#x}"
        );
        std::thread::sleep(PAUSE);
    }
    Ok(tally)
}

/// Does the job; gives what both ends have done, the client's first.
pub fn run(
    device: &Device,
    side: Side,
    peer: &mut Peer,
    job: Job,
    limit: Duration,
) -> Result<[Tally; 2]> {
    let job = peer.agree(side, job)?;
    ensure!(job.qps > 0, "there is nothing to be done by");
    let path = device.agree_path(peer)?;
    let context = &device.context;
    let channel = CompChannel::new(context)?;
    let pd = Pd::new(context)?;
    let places = job.qps * DEPTH;
    let cq = Cq::new(context, places as u32, Some(&channel))?;
    let buffer = Buffer::new(WORDS.max(places * WORD))?;
    let access = Access::LOCAL_WRITE | TUNING.access;
    let memory = Mr::new(&pd, &buffer, 0..buffer.len(), access)?;
    let mut qps = Vec::new();
    for _ in 0..job.qps {
        qps.push(queue_pair(&pd, &cq)?);
    }
    let remote = connect(&qps, &path, &memory, peer)?;
    peer.barrier("ready")?;
    let tally = match side {
        Side::Client => {
            let mut client = Client {
                qps: &qps,
                memory: &memory,
                buffer: &buffer,
                remote,
                pending: vec![Pending::Nothing; places],
                counter: vec![None; job.qps],
                lock: 0,
                posted: 0,
                tally: Tally::default(),
            };
            let sleeper = Sleeper {
                channel: &channel,
                cq: &cq,
                limit,
            };
            client.run(&job, &sleeper)?;
            client.tally
        }
        Side::Server => serve(&buffer, limit)?,
    };
    let theirs: Tally = peer.exchange(&tally)?;
    let tallies = match side {
        Side::Client => [tally, theirs],
        Side::Server => [theirs, tally],
    };
    if side == Side::Server {
        check(&buffer, &tallies)?;
    }
    peer.barrier("checked").context("after the last request")?;
    Ok(tallies)
}

/// Each addition and each exchange has been done, once.
fn check(buffer: &Buffer, tallies: &[Tally; 2]) -> Result<()> {
    let sum = |what: fn(&Tally) -> u64| tallies.iter().map(what).sum::<u64>();
    let (added, counter) = (sum(|tally| tally.added), buffer.load_u64(COUNTER));
    ensure!(
        counter == added,
        "{added} additions make {counter}: {tallies:?}"
    );
    let (swapped, lock) = (sum(|tally| tally.swapped), buffer.load_u64(LOCK));
    ensure!(
        lock == swapped,
        "{swapped} exchanges make {lock}: {tallies:?}"
    );
    Ok(())
}

fn queue_pair<'a>(pd: &'a Pd<'a>, cq: &'a Cq<'a>) -> Result<Qp<'a>> {
    let init = QpInit {
        send_cq: cq,
        recv_cq: cq,
        srq: None,
        capacity: QpCapacity {
            send_wr: DEPTH as u32,
            recv_wr: 1,
            send_sge: 1,
            recv_sge: 1,
            inline: 0,
        },
    };
    Ok(Qp::with_posting(pd, &init, Posting::Calls)?)
}

/// Connects each queue pair with one of the peer's. Gives the peer's memory.
fn connect(qps: &[Qp<'_>], path: &Path, memory: &Mr<'_>, peer: &mut Peer) -> Result<RemoteAddr> {
    let psn = Psn(0);
    let qps_offered = qps
        .iter()
        .map(|qp| QpAddress { qpn: qp.qpn(), psn })
        .collect();
    let theirs: Offer = peer.exchange(&Offer {
        qps: qps_offered,
        memory: memory.remote(),
    })?;
    ensure!(
        theirs.qps.len() == qps.len(),
        "the peer has {} queue pairs",
        theirs.qps.len()
    );
    for (qp, address) in qps.iter().zip(theirs.qps) {
        endpoint::connect(qp, path, &TUNING, psn, address)?;
    }
    Ok(theirs.memory)
}
