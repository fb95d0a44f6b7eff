// SPDX-License-Identifier: GPL-2.0

//! The longest messages, over little memory: all but the ends of a message is the same few pages.

use anyhow::ensure;
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

/// Bytes of a tile.
const TILE: usize = 4 << 20;

/// The three messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    Send,
}

/// Figures of the messages. The client measures, the server only checks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TiledReport {
    /// Bytes of each message.
    pub bytes: usize,
    /// Time of the WRITE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_seconds: Option<f64>,
    /// Time of the READ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_seconds: Option<f64>,
    /// Time of the SEND.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_seconds: Option<f64>,
}

/// Where the three tiles of a buffer begin.
fn tiles(buffer: &Buffer) -> [usize; 3] {
    [0, TILE, buffer.len() - TILE]
}

fn fill(buffer: &Buffer, content: [Pattern; 3]) {
    for (start, pattern) in tiles(buffer).into_iter().zip(content) {
        buffer.write(start, &pattern.bytes(0, TILE));
    }
}

fn check(buffer: &Buffer, content: [Pattern; 3]) -> Result<()> {
    for (start, pattern) in tiles(buffer).into_iter().zip(content) {
        let wrong = buffer.first_difference(start, &pattern.bytes(0, TILE));
        ensure!(
            wrong.is_none(),
            "wrong byte at {:#x} of the message",
            start + wrong.unwrap_or(0)
        );
    }
    Ok(())
}

/// The client writes, reads and sends `bytes`, a multiple of 4 MiB.
pub fn run(run: &Run<'_>, peer: &mut Peer, bytes: usize) -> Result<TiledReport> {
    let pd = Pd::new(&run.device.context)?;
    let buffer = Buffer::tiled(bytes, TILE)
        .with_context(|| format!("cannot map {bytes} bytes in tiles of {TILE}"))?;
    let mr = Mr::new(&pd, &buffer, 0..bytes, ACCESS)
        .with_context(|| format!("cannot register {bytes} bytes"))?;
    Link::with(run, peer, &pd, &mr, |link, peer| {
        let mut move_one = |kind| one(run, peer, link, &buffer, kind);
        Ok(TiledReport {
            bytes,
            write_seconds: move_one(Kind::Write).context("WRITE")?,
            read_seconds: move_one(Kind::Read).context("READ")?,
            send_seconds: move_one(Kind::Send).context("SEND")?,
        })
    })
}

/// Moves one message and checks it; the client measures.
fn one(
    run: &Run<'_>,
    peer: &mut Peer,
    link: &Link<'_>,
    buffer: &Buffer,
    kind: Kind,
) -> Result<Option<f64>> {
    let pattern = |part: u64| Pattern::new(&[run.settings.seed, kind as u64, part]);
    let message = [0, 1, 2].map(pattern);
    let before = [3, 4, 5].map(pattern);
    let source = match kind {
        Kind::Read => Side::Server,
        Kind::Write | Kind::Send => Side::Client,
    };
    fill(buffer, if run.side == source { message } else { before });
    if kind == Kind::Send && run.side == Side::Server {
        link.post_receive()?;
    }
    peer.barrier("tiled: ready")?;
    let remote = link.remote;
    let seconds = match (run.side, kind) {
        (Side::Client, Kind::Write) => Some(link.transfer(Operation::Write { remote, imm: None })?),
        (Side::Client, Kind::Read) => Some(link.transfer(Operation::Read { remote })?),
        (Side::Client, Kind::Send) => Some(link.transfer(Operation::Send { imm: None })?),
        (Side::Server, Kind::Send) => {
            let received = link.wait()?.byte_len as usize;
            ensure!(
                received == buffer.len(),
                "a message of {} bytes was received as {received}",
                buffer.len()
            );
            None
        }
        (Side::Server, Kind::Write | Kind::Read) => None,
    };
    peer.barrier("tiled: moved")?;
    check(buffer, message)?;
    peer.barrier("tiled: checked")?;
    Ok(seconds)
}
