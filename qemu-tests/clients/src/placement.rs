// SPDX-License-Identifier: GPL-2.0

//! RDMA WRITEs whose receiver polls the last bytes, takes the data and uses the memory again at once.
//!
//! What a WRITE has brought must be there in full when its last bytes are seen, and nobody may write there afterwards.

use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
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
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

/// The part of a message that is polled.
const FLAG: usize = size_of::<u64>();

const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE,
    timeout: 18,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: 1,
};

/// What is to be done; the client's rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Bytes of a message, a multiple of 8.
    pub bytes: usize,
    /// Number of messages.
    pub count: u64,
    /// What messages are filled with, again and again.
    pub unit: Vec<u8>,
}

/// What the receiver has seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Messages whose last bytes were there before the rest.
    pub incomplete: u64,
    /// Messages that were written again after their last bytes had been seen and cleared.
    pub written_again: u64,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    qp: QpAddress,
    memory: RemoteAddr,
}

/// Sends the messages, or receives them; gives what the receiver has seen.
pub fn run(
    device: &Device,
    side: Side,
    peer: &mut Peer,
    job: Job,
    limit: Duration,
) -> Result<(Job, Finding)> {
    let job = peer.agree(side, job)?;
    ensure!(
        job.bytes > FLAG && job.bytes % FLAG == 0 && !job.unit.is_empty(),
        "a message has a multiple of {FLAG} bytes, and contents"
    );
    let path = device.agree_path(peer)?;
    let context = &device.context;
    let pd = Pd::new(context)?;
    let cq = Cq::new(context, 4, None)?;
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
                send_wr: 1,
                recv_wr: 1,
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
    let body: Vec<u8> = job
        .unit
        .iter()
        .copied()
        .cycle()
        .take(job.bytes - FLAG)
        .collect();
    let flag_at = job.bytes - FLAG;
    let mut finding = Finding::default();
    buffer.write(0, &vec![0; job.bytes]);
    if side == Side::Client {
        buffer.write(0, &body);
    }
    for number in 1..=job.count {
        peer.barrier("armed")?;
        match side {
            Side::Client => {
                buffer.store_u64(flag_at, number);
                qp.post_send(&[SendRequest {
                    wr_id: number,
                    operation: Operation::Write {
                        remote: theirs.memory,
                        imm: None,
                    },
                    payload: Payload::Sges(&[memory.sge(0..job.bytes)]),
                    flags: SendFlags::SIGNALED,
                }])?;
                await_completion(&cq, limit)?;
                peer.barrier("sent")?;
            }
            Side::Server => {
                let seen = await_flag(&buffer, flag_at, limit)
                    .with_context(|| format!("message {number}"))?;
                buffer.store_u64(flag_at, 0);
                if seen != number || buffer.first_difference(0, &body).is_some() {
                    finding.incomplete += 1;
                }
                buffer.write(0, &vec![0; flag_at]);
                peer.barrier("sent")?;
                if buffer.to_vec(0..job.bytes).iter().any(|byte| *byte != 0) {
                    finding.written_again += 1;
                    buffer.write(0, &vec![0; job.bytes]);
                }
            }
        }
    }
    let theirs: Finding = peer.exchange(&finding)?;
    Ok(match side {
        Side::Client => (job, theirs),
        Side::Server => (job, finding),
    })
}

/// Polls memory until the flag is there.
fn await_flag(buffer: &Buffer, at: usize, limit: Duration) -> Result<u64> {
    let begun = Instant::now();
    loop {
        for _ in 0..1_000 {
            let seen = buffer.load_u64(at);
            if seen != 0 {
                return Ok(seen);
            }
            std::hint::spin_loop();
        }
        ensure!(begun.elapsed() < limit, "nothing came within {limit:?}");
    }
}

fn await_completion(cq: &Cq<'_>, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut found = Vec::new();
    while cq.poll(&mut found, 1)? == 0 {
        ensure!(begun.elapsed() < limit, "no completion within {limit:?}");
        std::thread::yield_now();
    }
    for completion in found {
        if completion.status != Status::SUCCESS {
            bail!("completed with {}", completion.status);
        }
    }
    Ok(())
}
