// SPDX-License-Identifier: GPL-2.0

//! Header of a segment of a request.

use super::execute::ExecuteRequest;
use super::segment::Extent;
use super::segment::SegmentSize;
use super::wire::psn;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::Rkey;
use crate::transport::ids::Rsn;
use crate::transport::opcode::Opcode;
use crate::transport::opcode::MAX_MESSAGE;

/// In a SEND's field for a key, which it does not need: the rest is the number of the response that is due next.
const SAYS_RESPONSE_PSN: u32 = 1 << 31;

/// Properties of a request segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SegmentFlags(u16);

impl SegmentFlags {
    /// First segment of its message.
    pub const FIRST: Self = Self(1 << 0);
    /// Last segment of its message.
    pub const LAST: Self = Self(1 << 1);
    /// The only segment of its message.
    pub const ONLY: Self = Self::FIRST.with(Self::LAST);
    /// The receiver's completion is solicited.
    pub const SOLICITED: Self = Self(1 << 2);
    /// To be placed only when all segments before it have been.
    pub const ORDERED: Self = Self(1 << 3);
    /// An acknowledgement is wanted once this segment has been processed.
    pub const ACK_REQUEST: Self = Self(1 << 4);
    /// Sent before: for a READ already accepted, its responses are wanted again.
    pub const REPEAT: Self = Self(1 << 5);

    const DEFINED: u16 = 0x3f;

    /// Those that segments of unreliable connections may have.
    const UNRELIABLE: u16 = Self::ONLY.with(Self::SOLICITED).0;

    /// No flag set.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether all of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The flags of a segment of an unreliable connection, if they are such.
    pub(super) const fn unreliable(bits: u16) -> Option<Self> {
        if bits & !Self::UNRELIABLE == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The flags as they are on the wire.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    /// These flags and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// The piece of a message that a segment carries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DataSegment {
    /// How many receives the messages before this one use up.
    pub rsn: Rsn,
    /// Which piece of the message.
    pub extent: Extent,
}

/// What a segment of a request asks the responder to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// SEND, with or without immediate data.
    Send {
        /// The piece of the message that the segment carries.
        data: DataSegment,
        /// Immediate data, as the user gave it.
        imm: Option<u32>,
        /// The requester has all responses before this one: no READ before it is answered again. Earlier versions
        /// do not say.
        response_psn: Option<Psn>,
    },
    /// SEND that invalidates a key when it is complete.
    SendWithInvalidate {
        /// The piece of the message that the segment carries.
        data: DataSegment,
        /// The responder's key.
        rkey: Rkey,
        /// The requester has all responses before this one: no READ before it is answered again.
        response_psn: Psn,
    },
    /// RDMA WRITE, with or without immediate data.
    Write {
        /// The piece of the message that the segment carries.
        data: DataSegment,
        /// Immediate data, as the user gave it.
        imm: Option<u32>,
        /// Remote address of the segment's first byte.
        va: u64,
        /// Remote key.
        rkey: Rkey,
    },
    /// RDMA READ.
    Read(ReadRequest),
    /// An atomic operation or a FLUSH.
    Execute(ExecuteRequest),
}

/// A request to read memory of the responder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadRequest {
    /// Remote address of the first byte.
    pub va: u64,
    /// Remote key.
    pub rkey: Rkey,
    /// How many bytes, up to 2^31.
    pub length: u32,
    /// How the data is cut into responses.
    pub segment: SegmentSize,
    /// The requester has all responses before this one.
    pub response_psn: Psn,
}

impl Operation {
    /// The number of the operation.
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::Send { imm: None, .. } => Opcode::Send,
            Self::Send { imm: Some(_), .. } => Opcode::SendWithImm,
            Self::SendWithInvalidate { .. } => Opcode::SendWithInvalidate,
            Self::Write { imm: None, .. } => Opcode::Write,
            Self::Write { imm: Some(_), .. } => Opcode::WriteWithImm,
            Self::Read(_) => Opcode::Read,
            Self::Execute(execute) => execute.action.opcode(),
        }
    }

    fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_opcode(self.opcode() as u8);
        match self {
            Self::Send {
                data,
                imm,
                response_psn,
            } => {
                data.emit(wire);
                wire.set_imm(imm.unwrap_or(0));
                wire.set_rkey(response_psn.map_or(0, |psn| SAYS_RESPONSE_PSN | psn.get()));
            }
            Self::SendWithInvalidate {
                data,
                rkey,
                response_psn,
            } => {
                data.emit(wire);
                wire.set_rkey(rkey.0);
                wire.set_imm(response_psn.get());
            }
            Self::Write {
                data,
                imm,
                va,
                rkey,
            } => {
                data.emit(wire);
                wire.set_imm(imm.unwrap_or(0));
                wire.set_va(*va);
                wire.set_rkey(rkey.0);
            }
            Self::Read(read) => read.emit(wire),
            Self::Execute(execute) => execute.emit(wire),
        }
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let opcode = Opcode::from_wire(wire.opcode())?;
        let imm = opcode.has_imm().then(|| wire.imm());
        Some(match opcode {
            Opcode::Send | Opcode::SendWithImm => Self::Send {
                data: DataSegment::parse(wire)?,
                imm,
                response_psn: parse_response_psn(wire.rkey())?,
            },
            Opcode::SendWithInvalidate => Self::SendWithInvalidate {
                data: DataSegment::parse(wire)?,
                rkey: Rkey(wire.rkey()),
                response_psn: psn(wire.imm())?,
            },
            Opcode::Write | Opcode::WriteWithImm => Self::Write {
                data: DataSegment::parse(wire)?,
                imm,
                va: wire.va(),
                rkey: Rkey(wire.rkey()),
            },
            Opcode::Read => Self::Read(ReadRequest::parse(wire)?),
            Opcode::CompareSwap | Opcode::FetchAdd | Opcode::AtomicWrite | Opcode::Flush => {
                Self::Execute(ExecuteRequest::parse(opcode, wire)?)
            }
        })
    }
}

/// What a SEND says of the responses that its sender has. The outer one is none if it makes no sense.
fn parse_response_psn(field: u32) -> Option<Option<Psn>> {
    if field & SAYS_RESPONSE_PSN == 0 {
        return Some(None);
    }
    psn(field & !SAYS_RESPONSE_PSN).map(Some)
}

impl Default for Operation {
    fn default() -> Self {
        Self::Send {
            data: DataSegment::default(),
            imm: None,
            response_psn: None,
        }
    }
}

impl DataSegment {
    fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_rsn(self.rsn.0);
        wire.set_offset(self.extent.offset());
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        Some(Self {
            rsn: Rsn(wire.rsn()),
            extent: Extent::new(wire.offset(), wire.payload_len())?,
        })
    }
}

impl ReadRequest {
    fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_va(self.va);
        wire.set_rkey(self.rkey.0);
        wire.set_offset(self.length);
        wire.set_imm(self.segment.get());
        wire.set_rsn(self.response_psn.get());
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let is_valid = wire.payload_len() == 0 && wire.offset() <= MAX_MESSAGE;
        is_valid.then_some(Self {
            va: wire.va(),
            rkey: Rkey(wire.rkey()),
            length: wire.offset(),
            segment: SegmentSize::new(wire.imm())?,
            response_psn: psn(wire.rsn())?,
        })
    }
}

/// A segment of a request, from requester to responder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// PSN of the segment.
    pub psn: Psn,
    /// Flags of the segment.
    pub flags: SegmentFlags,
    /// Operation that the segment is part of.
    pub operation: Operation,
}

impl RequestHeader {
    /// Bytes that follow the header.
    pub const fn payload_len(&self) -> u32 {
        match &self.operation {
            Operation::Send { data, .. }
            | Operation::SendWithInvalidate { data, .. }
            | Operation::Write { data, .. } => data.extent.len(),
            Operation::Read(_) => 0,
            Operation::Execute(execute) => execute.action.opcode().operands_len(),
        }
    }

    /// Whether it is the first segment of its message.
    pub const fn begins_message(&self) -> bool {
        match &self.operation {
            Operation::Send { data, .. }
            | Operation::SendWithInvalidate { data, .. }
            | Operation::Write { data, .. } => data.extent.offset() == 0,
            Operation::Read(_) | Operation::Execute(_) => true,
        }
    }

    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_qpns(self.dest_qpn, self.src_qpn);
        wire.set_psn(self.psn.get());
        wire.set_flags(self.flags.0);
        wire.set_payload_len(self.payload_len());
        self.operation.emit(wire);
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        if wire.flags() & !SegmentFlags::DEFINED != 0 {
            return None;
        }
        Some(Self {
            dest_qpn: wire.dest_qpn()?,
            src_qpn: wire.src_qpn()?,
            psn: psn(wire.psn())?,
            flags: SegmentFlags(wire.flags()),
            operation: Operation::parse(wire)?,
        })
    }
}
