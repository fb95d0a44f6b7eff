// SPDX-License-Identifier: GPL-2.0

//! One end of a connection made for a single case.

use std::ops::Range;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::endpoint;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::CompChannel;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Posting;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Sge;
use crate::verbs::Srq;
use crate::verbs::Status;

use super::case::Env;
use super::case::Outcome;

/// Everything that peers and the process itself may do.
pub const FULL_ACCESS: Access = Access::LOCAL_WRITE
    .union(Access::REMOTE_WRITE)
    .union(Access::REMOTE_READ)
    .union(Access::REMOTE_ATOMIC);

/// The message that cases use unless its size matters: several packets at any MTU.
pub const MESSAGE: Range<usize> = 0..9000;

const FIRST_PSN: Psn = Psn(0x00ff_fffe);

/// Whether receives come from a shared receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveFrom {
    /// From the queue pair's own queue.
    Own,
    /// From a shared one.
    Shared,
}

/// What the connection of a case is like.
#[derive(Clone, Copy, Debug)]
pub struct EndConfig {
    /// The send queue's depth.
    pub send_wr: u32,
    /// The receive queue's depth.
    pub recv_wr: u32,
    /// The completion queue's depth.
    pub cq_depth: u32,
    /// What the queue pair lets the peer do.
    pub qp_access: Access,
    /// Bytes of registered memory.
    pub memory: usize,
    /// As [`Tuning::timeout`].
    pub timeout: u8,
    /// As [`Tuning::retry_cnt`].
    pub retry_cnt: u8,
    /// As [`Tuning::rnr_retry`].
    pub rnr_retry: u8,
    /// Where receives come from.
    pub receive: ReceiveFrom,
    /// How send requests are posted.
    pub posting: Posting,
    /// Bytes that a send request can carry itself.
    pub inline: u32,
    /// Elements in a send request.
    pub send_sge: u32,
    /// As [`Tuning::rd_atomic`].
    pub rd_atomic: u8,
}

impl Default for EndConfig {
    fn default() -> Self {
        Self {
            send_wr: 16,
            recv_wr: 16,
            cq_depth: 64,
            qp_access: FULL_ACCESS,
            memory: 64 << 10,
            // 0.27 s and 7 times: no case that means to succeed runs into it.
            timeout: 16,
            retry_cnt: 7,
            rnr_retry: RNR_RETRY_FOREVER,
            receive: ReceiveFrom::Own,
            posting: Posting::Lists,
            inline: 0,
            send_sge: 1,
            rd_atomic: 1,
        }
    }
}

/// A connected queue pair with registered memory.
pub struct End<'a> {
    /// What the case was given.
    pub env: &'a Env<'a>,
    /// The protection domain.
    pub pd: &'a Pd<'a>,
    /// The channel of `cq`.
    pub channel: &'a CompChannel<'a>,
    /// For both directions.
    pub cq: &'a Cq<'a>,
    /// The shared receive queue, when asked for.
    pub srq: Option<&'a Srq<'a>>,
    /// The queue pair, in RTS.
    pub qp: Qp<'a>,
    /// All of it is registered, with every right.
    pub buffer: &'a Buffer,
    /// The region over `buffer`.
    pub mr: &'a Mr<'a>,
    /// The attributes of the connection.
    pub tuning: Tuning,
    /// The peer's queue pair.
    pub peer_qp: QpAddress,
    /// The peer's region.
    pub peer_memory: RemoteAddr,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    qp: QpAddress,
    memory: RemoteAddr,
}

/// Connects to the peer, which calls this too, and runs `body`.
pub fn with_end(
    env: &Env<'_>,
    peer: &mut Peer,
    config: &EndConfig,
    body: impl FnOnce(End<'_>, &mut Peer) -> Result<Outcome>,
) -> Result<Outcome> {
    let context = &env.device.context;
    let pd = Pd::new(context)?;
    let channel = CompChannel::new(context)?;
    let cq = Cq::new(context, config.cq_depth, Some(&channel))?;
    let srq = match config.receive {
        ReceiveFrom::Own => None,
        ReceiveFrom::Shared => Some(Srq::new(&pd, config.recv_wr, 1)?),
    };
    let buffer = Buffer::new(config.memory).context("not enough memory")?;
    buffer.write(0, &initial_bytes(env, config.memory));
    let mr = Mr::new(&pd, &buffer, 0..config.memory, FULL_ACCESS)?;
    let own = u32::from(srq.is_none());
    let qp = Qp::with_posting(
        &pd,
        &QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: srq.as_ref(),
            capacity: QpCapacity {
                send_wr: config.send_wr,
                recv_wr: config.recv_wr * own,
                send_sge: config.send_sge,
                recv_sge: own,
                inline: config.inline,
            },
        },
        config.posting,
    )?;
    let theirs: Offer = peer.exchange(&Offer {
        qp: QpAddress {
            qpn: qp.qpn(),
            psn: FIRST_PSN,
        },
        memory: mr.remote(),
    })?;
    let tuning = Tuning {
        access: config.qp_access,
        timeout: config.timeout,
        retry_cnt: config.retry_cnt,
        rnr_retry: config.rnr_retry,
        min_rnr_timer: 12,
        rd_atomic: config.rd_atomic,
    };
    endpoint::connect(&qp, env.path, &tuning, FIRST_PSN, theirs.qp)?;
    peer.barrier("connected")?;
    body(
        End {
            env,
            pd: &pd,
            channel: &channel,
            cq: &cq,
            srq: srq.as_ref(),
            qp,
            buffer: &buffer,
            mr: &mr,
            tuning,
            peer_qp: theirs.qp,
            peer_memory: theirs.memory,
        },
        peer,
    )
}

fn initial_bytes(env: &Env<'_>, len: usize) -> Vec<u8> {
    Pattern::new(&[env.side.index() as u64]).bytes(0, len)
}

/// A signalled request on registered memory.
pub fn request(wr_id: u64, operation: Operation, sges: &[Sge]) -> SendRequest<'_> {
    SendRequest {
        wr_id,
        operation,
        payload: Payload::Sges(sges),
        flags: SendFlags::SIGNALED,
    }
}

/// Waits for the next CQE.
pub fn next_completion(cq: &Cq<'_>, limit: Duration) -> Result<Completion> {
    let deadline = Instant::now() + limit;
    let mut completions = Vec::new();
    while cq.poll(&mut completions, 1)? == 0 {
        ensure!(Instant::now() < deadline, "no CQE within {limit:?}");
        thread::yield_now();
    }
    Ok(completions[0])
}

impl End<'_> {
    /// A WRITE to the peer's region.
    pub fn write(&self) -> Operation {
        Operation::Write {
            remote: self.peer_memory,
            imm: None,
        }
    }

    /// Waits for the next CQE, which must be for `wr_id` and have one of `statuses`.
    pub fn expect(&self, wr_id: u64, statuses: &[Status]) -> Result<()> {
        let completion = next_completion(self.cq, self.env.limit)
            .with_context(|| format!("waiting for request {wr_id} to end with {statuses:?}"))?;
        ensure!(
            completion.wr_id == wr_id && statuses.contains(&completion.status),
            "request {} ended with {}; expected request {wr_id} with {statuses:?}",
            completion.wr_id,
            completion.status
        );
        ensure!(
            completion.qpn == self.qp.qpn(),
            "the CQE names QP {}, not {}",
            completion.qpn,
            self.qp.qpn()
        );
        Ok(())
    }

    /// Checks that no CQE comes for `time`.
    pub fn expect_quiet(&self, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        let mut completions = Vec::new();
        while Instant::now() < deadline {
            if self.cq.poll(&mut completions, 1)? > 0 {
                bail!("an unexpected CQE: {:?}", completions[0]);
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Waits until the queue pair is in `state`.
    pub fn expect_state(&self, state: QpState) -> Result<()> {
        let deadline = Instant::now() + self.env.limit;
        loop {
            let now = self.qp.state()?;
            if now == state {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the QP is in {now:?}, expected {state:?}"
            );
            thread::yield_now();
        }
    }

    /// Checks that this end's memory is as it was when the case began.
    pub fn expect_untouched(&self) -> Result<()> {
        self.expect_untouched_except(0..0)
    }

    /// The same, but `range` may have changed.
    pub fn expect_untouched_except(&self, range: Range<usize>) -> Result<()> {
        let initial = initial_bytes(self.env, self.buffer.len());
        let before = self.buffer.first_difference(0, &initial[..range.start]);
        let after = self
            .buffer
            .first_difference(range.end, &initial[range.end..])
            .map(|at| range.end + at);
        match before.or(after) {
            None => Ok(()),
            Some(at) => {
                const SHOWN: usize = 32;
                let end = self.buffer.len().min(at + SHOWN);
                bail!(
                    "memory was changed by a refused request: at offset {at:#x} is {:02x?}, expected {:02x?}",
                    self.buffer.to_vec(at..end),
                    &initial[at..end]
                )
            }
        }
    }

    /// Posts `sges` with `operation`, and two valid requests behind, which are fenced so that they
    /// may not overtake a READ. The first must end with one of `statuses`, the others must be
    /// flushed, and the queue pair be in ERR.
    pub fn expect_refused(
        &self,
        operation: Operation,
        sges: &[Sge],
        statuses: &[Status],
    ) -> Result<()> {
        let valid = [self.mr.sge(MESSAGE)];
        let mut requests = [
            request(1, operation, sges),
            request(2, self.write(), &valid),
            request(3, self.write(), &valid),
        ];
        for follower in &mut requests[1..] {
            follower.flags |= SendFlags::FENCE;
        }
        self.qp.post_send(&requests)?;
        self.expect(1, statuses)?;
        self.expect(2, &[Status::WR_FLUSH_ERR])?;
        self.expect(3, &[Status::WR_FLUSH_ERR])?;
        self.expect_state(QpState::Err)
    }

    /// Posts a receive into `sges`.
    pub fn post_recv(&self, wr_id: u64, sges: &[Sge]) -> Result<()> {
        let requests = [RecvRequest { wr_id, sges }];
        match self.srq {
            Some(srq) => srq.post_recv(&requests)?,
            None => self.qp.post_recv(&requests)?,
        }
        Ok(())
    }

    /// Posts a WRITE and waits until it has succeeded: the connection works.
    pub fn expect_working(&self, wr_id: u64) -> Result<()> {
        self.qp
            .post_send(&[request(wr_id, self.write(), &[self.mr.sge(MESSAGE)])])?;
        self.expect(wr_id, &[Status::SUCCESS])
    }
}
