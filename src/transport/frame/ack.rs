// SPDX-License-Identifier: GPL-2.0

//! Header of an acknowledgement.

use super::wire::psn;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::NakSerial;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::status::NakCode;
use crate::transport::timing::RnrTimer;

mod code {
    pub(super) const ACK: u8 = 0;
    pub(super) const RNR_NAK: u8 = 1;
    pub(super) const SEQUENCE_NAK: u8 = 2;
    pub(super) const NAK: u8 = 3;
    pub(super) const READ_NAK: u8 = 4;
}

/// What an acknowledgement says besides its numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Syndrome {
    /// Acknowledges all before the acknowledged PSN.
    Ack,
    /// No receive request was there for the request at the acknowledged PSN: repeat from there
    /// after this time.
    RnrNak(RnrTimer),
    /// The segment at the acknowledged PSN was dropped: repeat from there at once.
    SequenceNak,
    /// The request at the acknowledged PSN is refused for good.
    Nak(NakCode),
    /// The READ with this PSN, accepted before, cannot be completed. All READs before it were.
    ReadNak {
        /// PSN of the READ's request.
        psn: Psn,
        /// Why it cannot be completed.
        code: NakCode,
    },
}

impl Syndrome {
    fn emit(&self, wire: &mut WireHeaderMut) {
        let (code, detail) = match self {
            Self::Ack => (code::ACK, 0),
            Self::RnrNak(timer) => (code::RNR_NAK, timer.encoding()),
            Self::SequenceNak => (code::SEQUENCE_NAK, 0),
            Self::Nak(code) => (code::NAK, *code as u8),
            Self::ReadNak { psn, code } => {
                wire.set_offset(psn.get());
                (code::READ_NAK, *code as u8)
            }
        };
        wire.set_opcode(code);
        wire.set_flags(detail.into());
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let detail = u8::try_from(wire.flags()).ok()?;
        match wire.opcode() {
            code::ACK => Some(Self::Ack),
            code::RNR_NAK if detail < 32 => Some(Self::RnrNak(RnrTimer::new(detail))),
            code::SEQUENCE_NAK => Some(Self::SequenceNak),
            code::NAK => Some(Self::Nak(NakCode::from_wire(detail)?)),
            code::READ_NAK => Some(Self::ReadNak {
                psn: psn(wire.offset())?,
                code: NakCode::from_wire(detail)?,
            }),
            _ => None,
        }
    }
}

/// State of a queue pair's receiving sides, from peer to peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AckHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// The responder has processed all requests before this PSN.
    pub psn: Psn,
    /// The requester has placed all responses before this one.
    pub response_psn: Psn,
    /// What the responder says about the request at `psn`.
    pub syndrome: Syndrome,
    /// Number of the syndrome: a new one for every new NAK, so that one that is repeated
    /// (acknowledgements are state) is acted upon once.
    pub nak_serial: NakSerial,
}

impl AckHeader {
    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_qpns(self.dest_qpn, self.src_qpn);
        wire.set_psn(self.psn.get());
        wire.set_rsn(self.response_psn.get());
        wire.set_imm(self.nak_serial.0);
        self.syndrome.emit(wire);
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        Some(Self {
            dest_qpn: wire.dest_qpn()?,
            src_qpn: wire.src_qpn()?,
            psn: psn(wire.psn())?,
            response_psn: psn(wire.rsn())?,
            syndrome: Syndrome::parse(wire)?,
            nak_serial: NakSerial(wire.imm()),
        })
    }
}
