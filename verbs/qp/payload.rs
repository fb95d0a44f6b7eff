// SPDX-License-Identifier: GPL-2.0

//! The payloads of a QP, by where the protocol says that they are, or belong.

use crate::transport::ids::Psn;
use crate::transport::ids::ReceiveSlot;
use crate::transport::requester::LocalRange;
use crate::transport::responder::RemoteRange;
use crate::transport::status::NakCode;

/// A payload to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Of a request.
    Request(Psn, LocalRange),
    /// Of an answer.
    Response(Psn, RemoteRange),
}

impl Outgoing {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        let len = match self {
            Self::Request(_, range) => range.len,
            Self::Response(_, range) => range.len,
        };
        len as usize
    }

    /// Whether both belong to requests, or both to answers: of each, what comes first is sent first.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Request(..), Self::Request(..)) | (Self::Response(..), Self::Response(..))
        )
    }
}

/// Where a received payload belongs.
#[derive(Clone, Copy)]
pub(super) enum Destination {
    /// Into memory that the peer names.
    Remote(RemoteRange),
    /// Into a receive that was taken.
    Receive {
        slot: ReceiveSlot,
        /// Where in its buffers.
        offset: u32,
        /// Bytes.
        len: u32,
    },
    /// Into the buffers of a request of this QP.
    Request(LocalRange),
}

impl Destination {
    /// What the peer is told if the memory cannot be had.
    pub(super) fn denial(&self) -> NakCode {
        match self {
            // Of an answer, it is told nothing.
            Self::Remote(_) | Self::Request(_) => NakCode::RemoteAccess,
            Self::Receive { .. } => NakCode::RemoteOperation,
        }
    }
}
