// SPDX-License-Identifier: GPL-2.0

//! Where the payloads of a QP are, or belong, and what it takes to get there.

use super::payload::Destination;
use super::payload::Outgoing;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::send_queue::Buffers;
use super::send_queue::SendQueue;
use crate::base::page_vec::PageVec;
use crate::transport::requester::LocalRange;
use crate::transport::responder::RemoteRange;
use crate::verbs::access_error::Unresolved;
use crate::verbs::elements::Elements;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::Regions;
use crate::verbs::pieces::Piece;
use crate::verbs::pieces::Pieces;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

/// Where a piece of the local buffers of a request is.
pub(super) enum Whereabouts<'a> {
    /// With the request.
    Inline(&'a [u8]),
    /// In registered memory.
    Memory(Memory<'a>),
}

/// Registered memory as somebody names it. Whether it is there, and allows the access, has not been looked at.
pub(super) struct Memory<'a> {
    needs: Needs,
    range: Range<'a>,
}

enum Range<'a> {
    /// The peer names it.
    Remote(RemoteRange),
    /// The elements of a work request name it.
    Elements {
        elements: Elements<'a>,
        offset: u32,
        len: u32,
    },
}

impl Memory<'_> {
    /// Appends its pages. Fails when it may not be accessed, or has no pages to be listed.
    pub(super) fn resolve(
        &self,
        table: &RegionTable,
        pages: &mut PageVec,
    ) -> Result<Regions, Unresolved> {
        match &self.range {
            Range::Remote(range) => {
                let Piece { key, address, len } = remote_piece(range);
                let region = table.resolve(key, address, len, self.needs, pages)?;
                let mut regions = Regions::new();
                regions.add(region);
                Ok(regions)
            }
            Range::Elements {
                elements,
                offset,
                len,
            } => elements.resolve(*offset, *len, self.needs, table, pages),
        }
    }

    /// Its pieces, to be copied one by one: some of its pages may not be present.
    pub(super) fn pieces(&self) -> Result<Pieces, AccessDenied> {
        match &self.range {
            Range::Remote(range) => Ok(Pieces::one(self.needs, remote_piece(range))),
            Range::Elements {
                elements,
                offset,
                len,
            } => elements.pieces(*offset, *len, self.needs),
        }
    }
}

fn remote_piece(range: &RemoteRange) -> Piece {
    Piece {
        key: Key(range.rkey.0),
        address: range.va,
        len: range.len as usize,
    }
}

impl QueuePair {
    /// Where a payload is that is to be sent.
    pub(super) fn pieces_to_send(
        &self,
        state: &State,
        payload: &Outgoing,
    ) -> Result<Pieces, AccessDenied> {
        match payload {
            Outgoing::Request(_, range) => match self.piece_to_send(&state.send_queue, range) {
                Some(Whereabouts::Memory(memory)) => memory.pieces(),
                Some(Whereabouts::Inline(_)) | None => Err(AccessDenied),
            },
            Outgoing::Response(_, range) => self.memory_to_read(range).pieces(),
        }
    }

    /// Where a payload belongs that has arrived.
    pub(super) fn memory_of<'a>(
        &self,
        state: &'a State,
        destination: &Destination,
    ) -> Result<Memory<'a>, AccessDenied> {
        match *destination {
            Destination::Remote(range) => Ok(Memory {
                needs: self.remote_needs(state, Access::RemoteWrite.into())?,
                range: Range::Remote(range),
            }),
            Destination::Receive { slot, offset, len } => Ok(Memory {
                needs: state.receive_queue.needs(),
                range: Range::Elements {
                    elements: state.receive_queue.elements(slot),
                    offset,
                    len,
                },
            }),
            Destination::Request(range) => match self.place_for_answer(&state.send_queue, &range) {
                Some(Whereabouts::Memory(memory)) => Ok(memory),
                // The payload of a READ is never inline.
                Some(Whereabouts::Inline(_)) | None => Err(AccessDenied),
            },
        }
    }

    /// Memory that the peer reads. Whether the QP allows that was checked when the READ arrived.
    pub(super) fn memory_to_read(&self, range: &RemoteRange) -> Memory<'static> {
        Memory {
            needs: self.needs_of_peer(Access::RemoteRead.into()),
            range: Range::Remote(*range),
        }
    }

    /// Where a piece of a request's message is; `None` when the request has fewer bytes with it.
    pub(super) fn piece_to_send<'a>(
        &self,
        requests: &'a SendQueue,
        range: &LocalRange,
    ) -> Option<Whereabouts<'a>> {
        self.piece_of_request(requests, range, AccessFlags::empty())
    }

    /// Where a piece of the answer to a request belongs; `None` when the request has fewer bytes with it.
    pub(super) fn place_for_answer<'a>(
        &self,
        requests: &'a SendQueue,
        range: &LocalRange,
    ) -> Option<Whereabouts<'a>> {
        self.piece_of_request(requests, range, Access::LocalWrite.into())
    }

    fn piece_of_request<'a>(
        &self,
        requests: &'a SendQueue,
        range: &LocalRange,
        access: AccessFlags,
    ) -> Option<Whereabouts<'a>> {
        let LocalRange { slot, offset, len } = *range;
        Some(match requests.buffers(slot) {
            Buffers::Inline(bytes) => {
                let start = offset as usize;
                Whereabouts::Inline(bytes.get(start..start + len as usize)?)
            }
            Buffers::Elements(elements) => Whereabouts::Memory(Memory {
                needs: Needs {
                    pd: self.pd,
                    peer_of: None,
                    access,
                },
                range: Range::Elements {
                    elements,
                    offset,
                    len,
                },
            }),
        })
    }

    /// What the QP, and the region, must allow for a remote access.
    pub(super) fn remote_needs(
        &self,
        state: &State,
        access: AccessFlags,
    ) -> Result<Needs, AccessDenied> {
        if !state.attributes.access().contains_all(access) {
            return Err(AccessDenied);
        }
        Ok(self.needs_of_peer(access))
    }

    /// What the region must allow for a remote access.
    fn needs_of_peer(&self, access: AccessFlags) -> Needs {
        Needs {
            pd: self.pd,
            peer_of: Some(self.qpn),
            access,
        }
    }
}
