// SPDX-License-Identifier: GPL-2.0

//! Where the payloads of a QP are, or belong, that cannot be listed page by page.

use super::paging::Destination;
use super::paging::Outgoing;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::send_queue::Buffers;
use crate::transport::requester::LocalRange;
use crate::transport::responder::RemoteRange;
use crate::verbs::memory_key::AccessDenied;
use crate::verbs::memory_key::Key;
use crate::verbs::memory_key::Needs;
use crate::verbs::pieces::Piece;
use crate::verbs::pieces::Pieces;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

impl QueuePair {
    /// Where a payload is that is to be sent.
    pub(super) fn pieces_to_send(
        &self,
        state: &State,
        payload: &Outgoing,
    ) -> Result<Pieces, AccessDenied> {
        match payload {
            Outgoing::Request(_, range) => {
                self.pieces_of_request(state, range, AccessFlags::empty())
            }
            Outgoing::Response(_, range) => {
                let needs = Needs {
                    pd: self.pd,
                    peer_of: Some(self.qpn),
                    access: Access::RemoteRead.into(),
                };
                Ok(Pieces::one(needs, remote_piece(range)))
            }
        }
    }

    /// Where a payload belongs that has arrived.
    pub(super) fn pieces_of(
        &self,
        state: &State,
        destination: &Destination,
    ) -> Result<Pieces, AccessDenied> {
        match destination {
            Destination::Remote(range) => {
                let needs = self.remote_needs(state, Access::RemoteWrite)?;
                Ok(Pieces::one(needs, remote_piece(range)))
            }
            Destination::Receive { slot, offset, len } => {
                state.receive_queue.pieces(*slot, *offset, *len)
            }
            Destination::Request(range) => {
                self.pieces_of_request(state, range, Access::LocalWrite.into())
            }
        }
    }

    fn pieces_of_request(
        &self,
        state: &State,
        range: &LocalRange,
        access: AccessFlags,
    ) -> Result<Pieces, AccessDenied> {
        let needs = Needs {
            pd: self.pd,
            peer_of: None,
            access,
        };
        match state.send_queue.buffers(range.slot) {
            Buffers::Elements(elements) => elements.pieces(range.offset, range.len, needs),
            Buffers::Inline(_) => Err(AccessDenied),
        }
    }
}

/// Memory that the peer names.
pub(super) fn remote_piece(range: &RemoteRange) -> Piece {
    Piece {
        key: Key(range.rkey.0),
        address: range.va,
        len: range.len as usize,
    }
}
