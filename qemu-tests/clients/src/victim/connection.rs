// SPDX-License-Identifier: GPL-2.0

//! A queue pair that is kept busy, and connected anew after every failure.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::endpoint;
use crate::endpoint::Path;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpAttr;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::Qpn;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::Rkey;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Sge;
use crate::verbs::Status;

use super::memory::lent;
use super::memory::Purpose;
use super::memory::Zone;
use super::memory::ANSWER_SLOT;
use super::memory::RECEIVE_SLOT;
use super::Tally;

/// Requests, and receives, of a queue pair at a time.
pub const DEPTH: usize = 16;

/// A queue pair to which nothing happens for this long is connected anew.
const PATIENCE: Duration = Duration::from_secs(3);

/// Number of the peer's first queue pair.
const PEER_QPN: u32 = 0x100;

/// The first PSN of the first queue pair: numbers wrap soon.
const FIRST_PSN: u32 = 0x00ff_ffe0;

/// PSNs between two queue pairs.
const PSN_STEP: u32 = 0x0012_3456;

/// Longest message.
const LONGEST: usize = 100_000;

/// The bit of a work request's id that tells receives.
const RECEIVE: u64 = 1 << 63;

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE.union(Access::REMOTE_READ),
    timeout: 14,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 1,
    rd_atomic: 16,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Since then everything that is posted is being flushed.
    Failed(Instant),
}

/// A queue pair.
pub struct Connection<'a> {
    qp: Qp<'a>,
    path: Path,
    number: usize,
    rng: ChaCha8Rng,
    state: State,
    moved: Instant,
    next_id: u64,
    sends: VecDeque<u64>,
    receives: VecDeque<u64>,
}

impl<'a> Connection<'a> {
    /// Connects the queue pair with this number.
    pub fn new(
        pd: &'a Pd<'_>,
        cq: &'a Cq<'a>,
        path: Path,
        number: usize,
        rng: ChaCha8Rng,
    ) -> Result<Self> {
        let qp = Qp::new(
            pd,
            &QpInit {
                send_cq: cq,
                recv_cq: cq,
                srq: None,
                capacity: QpCapacity {
                    send_wr: DEPTH as u32,
                    recv_wr: DEPTH as u32,
                    send_sge: 1,
                    recv_sge: 1,
                    inline: 64,
                },
            },
        )?;
        let connection = Self {
            qp,
            path,
            number,
            rng,
            state: State::Running,
            moved: Instant::now(),
            next_id: 0,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
        };
        connection.connect()?;
        Ok(connection)
    }

    fn connect(&self) -> Result<()> {
        let peer = QpAddress {
            qpn: self.peer_qpn(),
            psn: self.psn(),
        };
        endpoint::connect(&self.qp, &self.path, &TUNING, self.psn(), peer)
    }

    /// Its number.
    pub fn qpn(&self) -> Qpn {
        self.qp.qpn()
    }

    /// The number of the peer's queue pair.
    pub fn peer_qpn(&self) -> Qpn {
        Qpn(PEER_QPN + self.number as u32)
    }

    /// The first PSN, the same in both directions and in every life.
    pub fn psn(&self) -> Psn {
        const MASK: u32 = 0x00ff_ffff;
        let steps = PSN_STEP.wrapping_mul(self.number as u32);
        Psn(FIRST_PSN.wrapping_add(steps) & MASK)
    }

    /// Whether nothing is posted.
    pub fn is_idle(&self) -> bool {
        self.sends.is_empty() && self.receives.is_empty()
    }

    /// Goes to the error state.
    pub fn fail(&mut self) -> Result<()> {
        if self.state == State::Running {
            self.qp.fail().context("to the error state")?;
            self.state = State::Failed(Instant::now());
        }
        Ok(())
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Posts as much as there is room for.
    pub fn fill(&mut self, zones: &[Zone<'_>], tally: &mut Tally) -> Result<()> {
        if self.state != State::Running {
            return Ok(());
        }
        let region = |purpose| {
            let zone = zones.iter().find(|zone| zone.purpose() == purpose);
            zone.and_then(Zone::region)
        };
        let (Some(receives), Some(answers), Some(hidden)) = (
            region(Purpose::Receives),
            region(Purpose::Answers),
            region(Purpose::Hidden),
        ) else {
            return Ok(());
        };
        while self.receives.len() < DEPTH {
            let id = self.take_id() | RECEIVE;
            let slot = self.number * DEPTH + (id as usize) % DEPTH;
            let start = slot * RECEIVE_SLOT;
            let request = RecvRequest {
                wr_id: id,
                sges: &[receives.sge(start..start + lent(RECEIVE_SLOT))],
            };
            self.qp.post_recv(&[request])?;
            self.receives.push_back(id);
            tally.posted += 1;
        }
        while self.sends.len() < DEPTH {
            let id = self.take_id();
            self.post_send(id, answers, hidden, region(Purpose::Passing))?;
            self.sends.push_back(id);
            tally.posted += 1;
        }
        Ok(())
    }

    fn post_send(
        &mut self,
        id: u64,
        answers: &Mr<'_>,
        hidden: &Mr<'_>,
        passing: Option<&Mr<'_>>,
    ) -> Result<()> {
        // The peer takes what it likes for its memory.
        let remote = RemoteAddr {
            address: self.rng.random::<u64>() >> 1,
            rkey: Rkey(self.rng.random()),
        };
        let length = if self.rng.random_ratio(1, 4) {
            self.rng.random_range(0..LONGEST)
        } else {
            self.rng.random_range(0..3_000)
        };
        let mut flags = SendFlags::SIGNALED;
        flags.set(SendFlags::FENCE, self.rng.random_ratio(1, 16));
        let imm = self.rng.random_ratio(1, 3).then_some(0x0bad_cafe);
        let kind = self.rng.random_range(0..8);
        let post = |operation, payload| {
            self.qp.post_send(&[SendRequest {
                wr_id: id,
                operation,
                payload,
                flags,
            }])
        };
        match (kind, passing) {
            (0 | 1, _) => {
                // Nothing is lent behind it.
                let end = self.number * ANSWER_SLOT + lent(ANSWER_SLOT);
                let length = length.min(lent(ANSWER_SLOT));
                let sges: [Sge; 1] = [answers.sge(end - length..end)];
                post(Operation::Read { remote }, Payload::Sges(&sges))?;
            }
            (2, Some(passing)) => {
                let mut news = Vec::new();
                news.extend_from_slice(&passing.remote().address.to_le_bytes());
                news.extend_from_slice(&passing.rkey().0.to_le_bytes());
                news.extend_from_slice(&[0; 4]);
                post(Operation::Send { imm: None }, Payload::Inline(&[news]))?;
            }
            (3, _) => {
                let sges = [hidden.sge(0..length)];
                post(Operation::Send { imm }, Payload::Sges(&sges))?;
            }
            _ => {
                let sges = [hidden.sge(0..length)];
                post(Operation::Write { remote, imm }, Payload::Sges(&sges))?;
            }
        }
        Ok(())
    }

    /// Something that was posted has completed.
    pub fn complete(&mut self, completion: &Completion, tally: &mut Tally) -> Result<()> {
        let posted = if completion.wr_id & RECEIVE == 0 {
            &mut self.sends
        } else {
            &mut self.receives
        };
        // All requests are signalled, so each queue completes in its order.
        ensure!(
            posted.pop_front() == Some(completion.wr_id),
            "out of order, or not posted: {completion:?}"
        );
        self.moved = Instant::now();
        if completion.status == Status::SUCCESS {
            let is_receive = completion.wr_id & RECEIVE != 0;
            let is_message = completion.opcode == crate::verbs::Opcode::RECV;
            ensure!(
                !(is_receive && is_message) || completion.byte_len as usize <= lent(RECEIVE_SLOT),
                "longer than its receive: {completion:?}"
            );
            tally.good += 1;
            return Ok(());
        }
        tally.bad += 1;
        // The device has put it into the error state.
        if self.state == State::Running {
            self.state = State::Failed(Instant::now());
        }
        Ok(())
    }

    /// Looks after a queue pair that has failed, or does nothing any more.
    pub fn settle(&mut self, limit: Duration, tally: &mut Tally) -> Result<()> {
        match self.state {
            State::Running if self.moved.elapsed() >= PATIENCE => self.fail(),
            State::Running => Ok(()),
            State::Failed(_) if self.is_idle() => {
                self.qp
                    .modify(QpAttr::to_state(QpState::Reset))
                    .context("to RESET")?;
                self.connect()?;
                self.state = State::Running;
                self.moved = Instant::now();
                tally.restarts += 1;
                Ok(())
            }
            State::Failed(since) => {
                ensure!(
                    since.elapsed() < limit,
                    "{} requests and {} receives of a queue pair in the error state do not complete",
                    self.sends.len(),
                    self.receives.len()
                );
                Ok(())
            }
        }
    }
}
