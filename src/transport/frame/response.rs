// SPDX-License-Identifier: GPL-2.0

//! Header of a segment of the answer to a READ.

use super::segment::Extent;
use super::wire::psn;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;

/// A segment of the answer to a READ, from responder to requester.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// Its number in the responses' own space.
    pub response_psn: Psn,
    /// The READ it answers.
    pub request_psn: Psn,
    /// Which piece of the READ's data follows.
    pub extent: Extent,
}

impl ResponseHeader {
    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_qpns(self.dest_qpn, self.src_qpn);
        wire.set_psn(self.response_psn.get());
        wire.set_rsn(self.request_psn.get());
        wire.set_offset(self.extent.offset());
        wire.set_payload_len(self.extent.len());
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        Some(Self {
            dest_qpn: wire.dest_qpn()?,
            src_qpn: wire.src_qpn()?,
            response_psn: psn(wire.psn())?,
            request_psn: psn(wire.rsn())?,
            extent: Extent::new(wire.offset(), wire.payload_len())?,
        })
    }
}
