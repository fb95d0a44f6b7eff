// SPDX-License-Identifier: GPL-2.0

//! A one-way flow of messages of one size, by a program that sleeps whenever it has nothing to do.
//!
//! Programs that poll execute as many instructions as they have time for. Here what the hosts execute is the work of
//! moving messages.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::ValueEnum;
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
use crate::verbs::Buffer;
use crate::verbs::CompChannel;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Notify;
use crate::verbs::Operation;
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
use crate::verbs::Status;

/// Messages under way at most.
const DEPTH: u64 = 64;

/// Every so many requests one is signalled. Divides [`DEPTH`].
const SIGNAL_EVERY: u64 = 16;

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE.union(Access::REMOTE_READ),
    timeout: 18,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: 16,
};

/// How messages move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// RDMA WRITE from the client.
    Write,
    /// RDMA READ by the client.
    Read,
    /// SEND from the client.
    Send,
}

/// What is to be done; the client's rules.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    /// In which way.
    pub verb: Verb,
    /// Bytes of a message.
    pub bytes: usize,
    /// Number of messages.
    pub count: u64,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    qp: QpAddress,
    memory: RemoteAddr,
}

/// Waits for completions without polling.
pub(crate) struct Sleeper<'a> {
    pub(crate) channel: &'a CompChannel<'a>,
    pub(crate) cq: &'a Cq<'a>,
    pub(crate) limit: Duration,
}

impl Sleeper<'_> {
    /// The next completions: at least one, all successful.
    pub(crate) fn next(&self) -> Result<Vec<Completion>> {
        let mut found = Vec::new();
        while self.cq.poll(&mut found, DEPTH as usize)? == 0 {
            // Asking for the event first and looking again loses none.
            self.cq.request_notify(Notify::Any)?;
            if self.cq.poll(&mut found, DEPTH as usize)? > 0 {
                break;
            }
            let event = self.channel.wait(self.limit)?;
            ensure!(event.is_some(), "no completion within {:?}", self.limit);
        }
        for completion in &found {
            ensure!(
                completion.status == Status::SUCCESS,
                "request {} completed with {}",
                completion.wr_id,
                completion.status
            );
        }
        Ok(found)
    }
}

/// Moves the messages; gives the seconds they took.
pub fn run(
    device: &Device,
    side: Side,
    peer: &mut Peer,
    job: Job,
    limit: Duration,
) -> Result<(Job, f64)> {
    let job = peer.agree(side, job)?;
    ensure!(
        job.bytes > 0 && job.count > 0,
        "there is nothing to be moved"
    );
    let path = device.agree_path(peer)?;
    let context = &device.context;
    let channel = CompChannel::new(context)?;
    let pd = Pd::new(context)?;
    let cq = Cq::new(context, 2 * DEPTH as u32, Some(&channel))?;
    let buffer = Buffer::new(job.bytes)?;
    let access = Access::LOCAL_WRITE | TUNING.access;
    let memory = Mr::new(&pd, &buffer, 0..job.bytes, access)?;
    let qp = Qp::new(
        &pd,
        &QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: None,
            capacity: QpCapacity {
                send_wr: DEPTH as u32,
                recv_wr: DEPTH as u32,
                send_sge: 1,
                recv_sge: 1,
                inline: 0,
            },
        },
    )?;
    let psn = Psn(0);
    let theirs: Offer = peer.exchange(&Offer {
        qp: QpAddress { qpn: qp.qpn(), psn },
        memory: memory.remote(),
    })?;
    endpoint::connect(&qp, &path, &TUNING, psn, theirs.qp)?;
    let sleeper = Sleeper {
        channel: &channel,
        cq: &cq,
        limit,
    };
    let receives = side == Side::Server && job.verb == Verb::Send;
    let post_receive = |id| {
        qp.post_recv(&[RecvRequest {
            wr_id: id,
            sges: &[memory.sge(0..job.bytes)],
        }])
    };
    let mut posted = 0;
    while receives && posted < DEPTH.min(job.count) {
        post_receive(posted)?;
        posted += 1;
    }
    peer.barrier("ready")?;
    let began = Instant::now();
    match side {
        Side::Client => request(&qp, &memory, theirs.memory, job, &sleeper)?,
        Side::Server if receives => {
            let mut received = 0;
            while received < job.count {
                for _ in sleeper.next()? {
                    received += 1;
                    if posted < job.count {
                        post_receive(posted)?;
                        posted += 1;
                    }
                }
            }
        }
        Side::Server => {}
    }
    let seconds = began.elapsed().as_secs_f64();
    peer.barrier("done").context("after the last message")?;
    Ok((job, seconds))
}

/// Posts all requests, never more than [`DEPTH`] ahead.
fn request(
    qp: &Qp<'_>,
    memory: &Mr<'_>,
    remote: RemoteAddr,
    job: Job,
    sleeper: &Sleeper<'_>,
) -> Result<()> {
    let operation = match job.verb {
        Verb::Write => Operation::Write { remote, imm: None },
        Verb::Read => Operation::Read { remote },
        Verb::Send => Operation::Send { imm: None },
    };
    let (mut posted, mut completed) = (0, 0);
    while completed < job.count {
        while posted < job.count && posted < completed + DEPTH {
            let number = posted + 1;
            let mut flags = SendFlags::empty();
            let signalled = number % SIGNAL_EVERY == 0 || number == job.count;
            flags.set(SendFlags::SIGNALED, signalled);
            qp.post_send(&[SendRequest {
                wr_id: number,
                operation,
                payload: Payload::Sges(&[memory.sge(0..job.bytes)]),
                flags,
            }])?;
            posted = number;
        }
        for completion in sleeper.next()? {
            // It stands for all before it.
            completed = completion.wr_id;
        }
    }
    Ok(())
}
