// SPDX-License-Identifier: GPL-2.0

//! Header of a segment of an unreliable connection.

use super::request::SegmentFlags;
use super::segment::Extent;
use super::wire::psn;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::Rkey;
use crate::transport::opcode::Opcode;

/// What a message of an unreliable connection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreliableOperation {
    /// SEND, with or without immediate data.
    Send {
        /// Immediate data, as the user gave it.
        imm: Option<u32>,
    },
    /// RDMA WRITE, with or without immediate data.
    Write {
        /// Immediate data, as the user gave it.
        imm: Option<u32>,
        /// Remote address of the segment's first byte.
        va: u64,
        /// Remote key.
        rkey: Rkey,
    },
}

impl UnreliableOperation {
    /// The number of the operation.
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::Send { imm: None } => Opcode::Send,
            Self::Send { imm: Some(_) } => Opcode::SendWithImm,
            Self::Write { imm: None, .. } => Opcode::Write,
            Self::Write { imm: Some(_), .. } => Opcode::WriteWithImm,
        }
    }

    /// Immediate data, if the message brings any.
    pub const fn imm(&self) -> Option<u32> {
        match self {
            Self::Send { imm } | Self::Write { imm, .. } => *imm,
        }
    }

    fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_opcode(self.opcode() as u8);
        wire.set_imm(self.imm().unwrap_or(0));
        if let Self::Write { va, rkey, .. } = self {
            wire.set_va(*va);
            wire.set_rkey(rkey.0);
        }
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let opcode = Opcode::from_wire(wire.opcode())?;
        let imm = opcode.has_imm().then(|| wire.imm());
        match opcode {
            Opcode::Send | Opcode::SendWithImm => Some(Self::Send { imm }),
            Opcode::Write | Opcode::WriteWithImm => Some(Self::Write {
                imm,
                va: wire.va(),
                rkey: Rkey(wire.rkey()),
            }),
            Opcode::Read
            | Opcode::CompareSwap
            | Opcode::FetchAdd
            | Opcode::AtomicWrite
            | Opcode::Flush => None,
        }
    }
}

/// A segment of an unreliable connection, from sender to receiver. Nobody answers it, and nobody sends it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnreliableHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// PSN of the segment.
    pub psn: Psn,
    /// Flags of the segment: `FIRST`, `LAST` and `SOLICITED`.
    pub flags: SegmentFlags,
    /// What the message does.
    pub operation: UnreliableOperation,
    /// Which piece of the message the segment carries.
    pub extent: Extent,
}

impl UnreliableHeader {
    /// Whether it is the first segment of its message.
    pub const fn is_first(&self) -> bool {
        self.flags.contains(SegmentFlags::FIRST)
    }

    /// Whether it is the last segment of its message.
    pub const fn is_last(&self) -> bool {
        self.flags.contains(SegmentFlags::LAST)
    }

    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_qpns(self.dest_qpn, self.src_qpn);
        wire.set_psn(self.psn.get());
        wire.set_flags(self.flags.bits());
        wire.set_payload_len(self.extent.len());
        wire.set_offset(self.extent.offset());
        self.operation.emit(wire);
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        Some(Self {
            dest_qpn: wire.dest_qpn()?,
            src_qpn: wire.src_qpn()?,
            psn: psn(wire.psn())?,
            flags: SegmentFlags::unreliable(wire.flags())?,
            operation: UnreliableOperation::parse(wire)?,
            extent: Extent::new(wire.offset(), wire.payload_len())?,
        })
    }
}
