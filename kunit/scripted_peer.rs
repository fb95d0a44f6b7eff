// SPDX-License-Identifier: GPL-2.0

//! A peer that says what it is told to, when it is told to.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;

use crate::base::checksum::KernelHash;
use crate::memory_cable::Cable;
use crate::memory_cable::Outcome;
use crate::memory_cable::Side;
use crate::stream_adapter::open_file::OpenFile;
use crate::transport::checksum::Seed;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::RailSeq;
use crate::transport::rail::deframer::Deframer;
use crate::transport::rail::deframer::Found;
use crate::transport::rail::hello::Challenge;
use crate::transport::rail::hello::Hello;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::ReaderSync;
use crate::transport::rail::hello::HELLO_LEN;

/// Longer than a host waits before it speaks, on a slow machine.
const LONG_MS: u32 = 60_000;

/// A peer whose hellos are written by a test.
pub(crate) struct ScriptedPeer {
    cable: Arc<Cable>,
    side: Side,
    host: Side,
    identity: Identity,
    // As long as it is open, frames arrive.
    _file: OpenFile,
}

impl ScriptedPeer {
    /// A peer at this end of a cable, whose other end is `host`.
    pub(crate) fn new(
        cable: &Arc<Cable>,
        side: Side,
        host: Side,
        identity: Identity,
    ) -> Result<Self> {
        Ok(Self {
            _file: Cable::open(cable, side)?,
            cable: cable.clone(),
            side,
            host,
            identity,
        })
    }

    /// The newest hello of the host: waits for one, and reads all that is there.
    pub(crate) fn hear(&self) -> Result<Hello> {
        let mut newest = None;
        loop {
            if let Some(hello) = newest {
                if !self.cable.has_more(self.side) {
                    return Ok(hello);
                }
            }
            match self.cable.take(self.side, msecs_to_jiffies(LONG_MS))? {
                Outcome::Bytes(bytes) => newest = last_hello(&bytes).or(newest),
                Outcome::Error(error) => return Err(error),
                Outcome::End => return Err(EPIPE),
            }
        }
    }

    /// Says hello as `own`, in answer to the host's hello `echo`.
    pub(crate) fn say(&self, own: Challenge, echo: Challenge, sync: ReaderSync) -> Result {
        let payload = Hello {
            identity: self.identity,
            own,
            echo,
            sync,
            first_seq: RailSeq(0),
        }
        .encode();
        let header = Header {
            seq: RailSeq(0),
            ack: RailSeq(0),
            payload_len: HELLO_LEN as u32,
            payload_checksum: Seed::HANDSHAKE.checksum::<KernelHash>(&payload),
            body: Body::Hello,
        };
        let mut frame = [0; HEADER_LEN + HELLO_LEN];
        frame[..HEADER_LEN].copy_from_slice(&header.encode::<KernelHash>(Seed::HANDSHAKE));
        frame[HEADER_LEN..].copy_from_slice(&payload);
        self.cable.send(self.host, &frame)
    }
}

/// The last hello among what was written at once. All else is of a session, which is not listened to.
fn last_hello(mut bytes: &[u8]) -> Option<Hello> {
    let mut deframer = Deframer::<KernelHash>::new();
    let mut last = None;
    while let Ok(piece) = deframer.next(bytes, None) {
        if let Found::Hello(payload) = piece.found {
            last = Hello::decode(&bytes[payload]).ok();
        }
        bytes = &bytes[piece.len..];
    }
    last
}
