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
use crate::transport::ids::RailSeq;
use crate::transport::rail::deframer::Deframer;
use crate::transport::rail::deframer::Found;
use crate::transport::rail::endpoint::ControlFrame;
use crate::transport::rail::hello::Challenge;
use crate::transport::rail::hello::Hello;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::ReaderSync;

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
        loop {
            if let Some(hello) = self.read_one()? {
                return Ok(self.hear_more()?.unwrap_or(hello));
            }
        }
    }

    /// The newest hello among what is there. All is read.
    pub(crate) fn hear_more(&self) -> Result<Option<Hello>> {
        let mut newest = None;
        while self.cable.has_more(self.side) {
            newest = self.read_one()?.or(newest);
        }
        Ok(newest)
    }

    /// The last hello among what the host wrote at once; waits until it has written something.
    fn read_one(&self) -> Result<Option<Hello>> {
        match self.cable.take(self.side, msecs_to_jiffies(LONG_MS))? {
            Outcome::Bytes(bytes) => Ok(last_hello(&bytes)),
            Outcome::Error(error) => Err(error),
            Outcome::End => Err(EPIPE),
        }
    }

    /// Says hello as `own`, in answer to the host's hello `echo`.
    pub(crate) fn say(&self, own: Challenge, echo: Challenge, sync: ReaderSync) -> Result {
        let hello = Hello {
            identity: self.identity,
            own,
            echo,
            sync,
            first_seq: RailSeq(0),
        };
        let frame = ControlFrame::hello::<KernelHash>(&hello);
        self.cable.send(self.host, frame.bytes())
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
