// SPDX-License-Identifier: GPL-2.0

//! How long 8 bytes take to the next rank: a token goes round the ring.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::endpoint;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
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

use super::ring::Ring;

const TOKEN: usize = size_of::<u64>();

/// Receives posted ahead; at most one token is under way.
const RECEIVES: u64 = 4;

/// Every so many WRITEs one is signalled, which frees the send queue.
const SIGNAL_EVERY: u64 = 32;

const SEND_WR: u32 = 64;

/// Rounds before the measured ones.
const WARM_UP: u64 = 16;

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE,
    timeout: 20,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: 1,
};

/// How the arrival of a token is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// By the completion of a receive: WRITE with immediate data.
    Completion,
    /// By its value in memory: plain WRITE.
    Memory,
}

/// One-way times between neighbours, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Rounds measured.
    pub rounds: usize,
    /// The median.
    pub p50_us: f64,
    /// What one in a hundred exceeds.
    pub p99_us: f64,
}

#[derive(Serialize, Deserialize)]
struct OutOffer {
    qp: QpAddress,
}

#[derive(Serialize, Deserialize)]
struct InOffer {
    qp: QpAddress,
    token: RemoteAddr,
}

/// Sends the token round the ring; rank 0 measures, the others give nothing.
pub fn run(
    ring: &mut Ring<'_>,
    arrival: Arrival,
    rounds: u64,
    limit: Duration,
) -> Result<Option<Latency>> {
    let context = &ring.device.context;
    let pd = Pd::new(context)?;
    let out_cq = Cq::new(context, SEND_WR, None)?;
    let in_cq = Cq::new(context, SEND_WR, None)?;
    let buffer = Buffer::new(2 * TOKEN)?;
    let access = Access::LOCAL_WRITE | Access::REMOTE_WRITE;
    let incoming = Mr::new(&pd, &buffer, 0..TOKEN, access)?;
    let outgoing = Mr::new(&pd, &buffer, TOKEN..2 * TOKEN, Access::empty())?;
    let qp = |cq, recv_wr| {
        Qp::new(
            &pd,
            &QpInit {
                send_cq: cq,
                recv_cq: cq,
                srq: None,
                capacity: QpCapacity {
                    send_wr: SEND_WR,
                    recv_wr,
                    send_sge: 1,
                    recv_sge: 1,
                    inline: 0,
                },
            },
        )
    };
    let (out_qp, in_qp) = (qp(&out_cq, 0)?, qp(&in_cq, RECEIVES as u32)?);
    let psn = Psn(0);
    let address = |qp: &Qp<'_>| QpAddress { qpn: qp.qpn(), psn };
    let (next, prev): (InOffer, OutOffer) = ring.neighbours.exchange(
        &OutOffer {
            qp: address(&out_qp),
        },
        &InOffer {
            qp: address(&in_qp),
            token: incoming.remote(),
        },
    )?;
    endpoint::connect(&out_qp, &ring.next, &TUNING, psn, next.qp)?;
    endpoint::connect(&in_qp, &ring.prev, &TUNING, psn, prev.qp)?;
    let post_recv = |id| {
        in_qp.post_recv(&[RecvRequest {
            wr_id: id,
            sges: &[],
        }])
    };
    for id in 0..RECEIVES {
        post_recv(id)?;
    }
    ring.neighbours.barrier("latency: ready")?;

    let send = |number: u64| -> Result<()> {
        buffer.store_u64(TOKEN, number);
        let imm = match arrival {
            Arrival::Completion => Some(number as u32),
            Arrival::Memory => None,
        };
        let mut flags = SendFlags::empty();
        flags.set(SendFlags::SIGNALED, number % SIGNAL_EVERY == 0);
        out_qp.post_send(&[SendRequest {
            wr_id: number,
            operation: Operation::Write {
                remote: next.token,
                imm,
            },
            payload: Payload::Sges(&[outgoing.sge(0..TOKEN)]),
            flags,
        }])?;
        if number % SIGNAL_EVERY == 0 {
            take(&out_cq, number, limit)?;
        }
        Ok(())
    };
    let receive = |number: u64| -> Result<()> {
        if arrival == Arrival::Completion {
            let completion = take(&in_cq, number - 1, limit)?;
            ensure!(
                completion.imm == Some(number as u32),
                "token {number} came with immediate data {:?}",
                completion.imm
            );
            post_recv(number - 1 + RECEIVES)?;
            let found = buffer.load_u64(0);
            ensure!(found == number, "token {number} holds {found} in memory");
            return Ok(());
        }
        let deadline = Instant::now() + limit;
        loop {
            let found = buffer.load_u64(0);
            if found == number {
                return Ok(());
            }
            ensure!(
                found == number - 1,
                "memory holds {found} while token {number} is awaited"
            );
            ensure!(
                Instant::now() < deadline,
                "token {number} did not come within {limit:?}"
            );
            thread::yield_now();
        }
    };

    let mut times = Vec::new();
    for number in 1..=WARM_UP + rounds {
        if ring.rank == 0 {
            let start = Instant::now();
            send(number)?;
            receive(number)?;
            if number > WARM_UP {
                times.push(start.elapsed().as_secs_f64() * 1e6 / ring.ranks as f64);
            }
        } else {
            receive(number)?;
            send(number)?;
        }
    }
    ring.neighbours.barrier("latency: done")?;
    Ok((ring.rank == 0).then(|| summarise(times)))
}

fn take(cq: &Cq<'_>, wr_id: u64, limit: Duration) -> Result<Completion> {
    let deadline = Instant::now() + limit;
    let mut completions = Vec::new();
    while cq.poll(&mut completions, 1)? == 0 {
        ensure!(
            Instant::now() < deadline,
            "request {wr_id} did not complete within {limit:?}"
        );
        thread::yield_now();
    }
    let completion = completions.pop().context("a completion")?;
    ensure!(
        completion.status == Status::SUCCESS && completion.wr_id == wr_id,
        "request {} completed with {}; expected request {wr_id}",
        completion.wr_id,
        completion.status
    );
    Ok(completion)
}

fn summarise(mut times: Vec<f64>) -> Latency {
    times.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(index).copied().unwrap_or(f64::NAN)
    };
    Latency {
        rounds: times.len(),
        p50_us: at(50),
        p99_us: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_times() {
        let times = (1..=200).rev().map(f64::from).collect();
        let latency = summarise(times);
        assert_eq!(latency.rounds, 200);
        assert_eq!(latency.p50_us, 100.0);
        assert_eq!(latency.p99_us, 198.0);
    }

    #[test]
    fn one_round_is_all_percentiles() {
        let latency = summarise(vec![7.0]);
        assert_eq!((latency.p50_us, latency.p99_us), (7.0, 7.0));
    }
}
