// SPDX-License-Identifier: GPL-2.0

//! Header of an unreliable datagram (IBTA 9.8.3): one frame from queue pair to queue pair.

use super::size::MAX_DATAGRAM;
use super::size::NETWORK_HEADER_LEN;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::Qkey;
use crate::transport::ids::Qpn;
use crate::transport::requester::Solicitation;

mod code {
    pub(super) const PLAIN: u8 = 0;
    pub(super) const WITH_IMM: u8 = 1;
}

/// `flags`: the receiver's completion raises an event.
const SOLICITED: u16 = 1;

/// An unreliable datagram. Its payload is what lands in the receive's buffers: the network header, then the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DatagramHeader {
    /// Queue pair it is for; [`Qpn::MULTICAST`] if the network header says which group it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// Key of the queue pair it is for.
    pub qkey: Qkey,
    /// Immediate data, if any; handed through as it is.
    pub imm: Option<u32>,
    /// Whether the receiver's completion is to raise an event.
    pub solicited: Solicitation,
    /// Bytes of network header and message.
    pub payload_len: u32,
}

impl DatagramHeader {
    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_qpns(self.dest_qpn, self.src_qpn);
        wire.set_rkey(self.qkey.0);
        wire.set_payload_len(self.payload_len);
        match self.imm {
            None => wire.set_opcode(code::PLAIN),
            Some(imm) => {
                wire.set_opcode(code::WITH_IMM);
                wire.set_imm(imm);
            }
        }
        match self.solicited {
            Solicitation::Unsolicited => {}
            Solicitation::Solicited => wire.set_flags(SOLICITED),
        }
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let payload_len = wire.payload_len();
        let lengths = NETWORK_HEADER_LEN as u32..=NETWORK_HEADER_LEN as u32 + MAX_DATAGRAM;
        if !lengths.contains(&payload_len) {
            return None;
        }
        Some(Self {
            dest_qpn: wire.dest_qpn()?,
            src_qpn: wire.src_qpn()?,
            qkey: Qkey(wire.rkey()),
            imm: match wire.opcode() {
                code::PLAIN => None,
                code::WITH_IMM => Some(wire.imm()),
                _ => return None,
            },
            solicited: match wire.flags() {
                0 => Solicitation::Unsolicited,
                SOLICITED => Solicitation::Solicited,
                _ => return None,
            },
            payload_len,
        })
    }
}
