// SPDX-License-Identifier: GPL-2.0

//! One large WRITE and one large READ, checked byte by byte without a second copy in memory.

use anyhow::bail;
use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::pattern::Pattern;
use crate::verbs::Buffer;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Pd;

use super::link::Link;
use super::link::ACCESS;
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
    let pd = Pd::new(&run.device.context)?;
    let buffer = Buffer::new(bytes + 2 * GUARD)
        .with_context(|| format!("not enough memory for a message of {bytes} bytes"))?;
    let mr = Mr::new(&pd, &buffer, GUARD..GUARD + bytes, ACCESS)?;
    Link::with(run, peer, &pd, &mr, |link, peer| {
        transfer(run, peer, link, &buffer, bytes)
    })
}

fn transfer(
    run: &Run<'_>,
    peer: &mut Peer,
    link: &Link<'_>,
    buffer: &Buffer,
    bytes: usize,
) -> Result<LargeReport> {
    let seed = run.settings.seed;
    let [message, client_rest, server_rest] = [1, 2, 3].map(|number| Pattern::new(&[seed, number]));
    let rest = match run.side {
        Side::Client => client_rest,
        Side::Server => server_rest,
    };
    // The WRITE: the client's whole buffer holds the message, only its middle may arrive.
    fill(
        buffer,
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
    let remote = link.remote;
    if run.side == Side::Client {
        report.write_seconds = Some(link.transfer(Operation::Write { remote, imm: None })?);
    }
    peer.barrier("large: written")?;
    match run.side {
        Side::Server => check(buffer, message, rest).context("after the WRITE")?,
        Side::Client => fill(buffer, rest),
    }
    peer.barrier("large: write checked")?;
    if run.side == Side::Client {
        report.read_seconds = Some(link.transfer(Operation::Read { remote })?);
        check(buffer, message, rest).context("after the READ")?;
    }
    peer.barrier("large: done")?;
    Ok(report)
}
