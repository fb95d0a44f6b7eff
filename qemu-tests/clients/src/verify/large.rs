// SPDX-License-Identifier: GPL-2.0

//! One large WRITE and one large READ, checked byte by byte without a second copy in memory.

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
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::pattern::Pattern;
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

use super::setup::Run;

/// Unregistered bytes on either side.
const GUARD: usize = 8192;

/// Bytes filled or compared at a time.
const STEP: usize = 1 << 20;

/// Figures of the large messages. The client measures, the server only checks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LargeReport {
    /// Bytes of each of the two messages.
    pub bytes: usize,
    /// Time of the WRITE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_seconds: Option<f64>,
    /// Time of the READ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_seconds: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    address: QpAddress,
    memory: RemoteAddr,
    max_message: usize,
}

fn fill(buffer: &Buffer, pattern: Pattern) {
    let mut step = vec![0; STEP];
    for start in (0..buffer.len()).step_by(STEP) {
        let step = &mut step[..STEP.min(buffer.len() - start)];
        pattern.fill(start, step);
        buffer.write(start, step);
    }
}

/// Checks that the middle of `buffer` holds `inside` and the guard bands still hold `outside`.
fn check(buffer: &Buffer, inside: Pattern, outside: Pattern) -> Result<()> {
    let end = buffer.len() - GUARD;
    let mut step = vec![0; STEP];
    for start in (0..buffer.len()).step_by(STEP) {
        let step = &mut step[..STEP.min(buffer.len() - start)];
        inside.fill(start, step);
        for at in (start..start + step.len()).filter(|at| *at < GUARD || *at >= end) {
            outside.fill(at, &mut step[at - start..=at - start]);
        }
        if let Some(at) = buffer.first_difference(start, step) {
            let at = start + at;
            let place = if (GUARD..end).contains(&at) {
                "the message"
            } else {
                "a guard band"
            };
            bail!("wrong byte in {place}, at {at:#x} of the buffer");
        }
    }
    Ok(())
}

/// The client writes `bytes` to the server, and reads them back after the server has checked them.
pub fn run(run: &Run<'_>, peer: &mut Peer, bytes: usize) -> Result<LargeReport> {
    let device = run.device;
    let pd = Pd::new(&device.context)?;
    let cq = Cq::new(&device.context, 4, None)?;
    let buffer = Buffer::new(bytes + 2 * GUARD)
        .with_context(|| format!("not enough memory for a message of {bytes} bytes"))?;
    let access = Access::LOCAL_WRITE | Access::REMOTE_WRITE | Access::REMOTE_READ;
    let mr = Mr::new(&pd, &buffer, GUARD..GUARD + bytes, access)?;
    let qp = Qp::new(
        &pd,
        &QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: None,
            capacity: QpCapacity {
                send_wr: 2,
                recv_wr: 1,
                send_sge: 1,
                recv_sge: 1,
                inline: 0,
            },
        },
    )?;
    let psn = Psn(0xff_fff0);
    let theirs: Offer = peer.exchange(&Offer {
        address: QpAddress { qpn: qp.qpn(), psn },
        memory: mr.remote(),
        max_message: device.port_info.max_message as usize,
    })?;
    let most = theirs
        .max_message
        .min(device.port_info.max_message as usize)
        .min(u32::MAX as usize);
    ensure!(
        bytes <= most,
        "a message of {bytes} bytes was asked for; the ports allow {most}"
    );
    let tuning = Tuning {
        access,
        timeout: 18,
        retry_cnt: 7,
        rnr_retry: RNR_RETRY_FOREVER,
        min_rnr_timer: 12,
        rd_atomic: 1,
    };
    endpoint::connect(&qp, run.path, &tuning, psn, theirs.address)?;

    let seed = run.settings.seed;
    let [message, client_rest, server_rest] = [1, 2, 3].map(|number| Pattern::new(&[seed, number]));
    let rest = match run.side {
        Side::Client => client_rest,
        Side::Server => server_rest,
    };
    let transfer = |operation: Operation| -> Result<f64> {
        let start = Instant::now();
        qp.post_send(&[SendRequest {
            wr_id: 1,
            operation,
            payload: Payload::Sges(&[mr.sge(0..bytes)]),
            flags: SendFlags::SIGNALED,
        }])?;
        wait(&cq, run.limit)?;
        Ok(start.elapsed().as_secs_f64())
    };

    // The WRITE: the client's whole buffer holds the message, only its middle may arrive.
    fill(
        &buffer,
        match run.side {
            Side::Client => message,
            Side::Server => server_rest,
        },
    );
    peer.barrier("large: ready")?;
    let mut report = LargeReport {
        bytes,
        write_seconds: None,
        read_seconds: None,
    };
    let remote = theirs.memory;
    if run.side == Side::Client {
        report.write_seconds = Some(transfer(Operation::Write { remote, imm: None })?);
    }
    peer.barrier("large: written")?;
    match run.side {
        Side::Server => check(&buffer, message, rest).context("after the WRITE")?,
        Side::Client => fill(&buffer, rest),
    }
    peer.barrier("large: write checked")?;
    if run.side == Side::Client {
        report.read_seconds = Some(transfer(Operation::Read { remote })?);
        check(&buffer, message, rest).context("after the READ")?;
    }
    peer.barrier("large: done")?;
    Ok(report)
}

fn wait(cq: &Cq<'_>, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut completions = Vec::new();
    while cq.poll(&mut completions, 1)? == 0 {
        ensure!(
            Instant::now() < deadline,
            "the large message did not complete within {limit:?}"
        );
        thread::yield_now();
    }
    ensure!(
        completions[0].status == Status::SUCCESS,
        "the large message completed with {}",
        completions[0].status
    );
    Ok(())
}
