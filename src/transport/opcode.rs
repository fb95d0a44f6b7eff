// SPDX-License-Identifier: GPL-2.0

//! Operations a queue pair can ask its peer for.

/// What a segment of a request asks the responder to do (the transport's own numbers).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Opcode {
    /// SEND.
    #[default]
    Send = 1,
    /// SEND with immediate data.
    SendWithImm = 2,
    /// RDMA WRITE.
    Write = 3,
    /// RDMA WRITE with immediate data.
    WriteWithImm = 4,
    /// RDMA READ.
    Read = 5,
    /// SEND that invalidates a key of the responder.
    SendWithInvalidate = 10,
}

impl Opcode {
    /// The opcode with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Send),
            2 => Some(Self::SendWithImm),
            3 => Some(Self::Write),
            4 => Some(Self::WriteWithImm),
            5 => Some(Self::Read),
            10 => Some(Self::SendWithInvalidate),
            _ => None,
        }
    }

    /// Whether a message of this kind uses up a receive request.
    pub const fn consumes_receive(self) -> bool {
        match self {
            Self::Send | Self::SendWithImm | Self::SendWithInvalidate | Self::WriteWithImm => true,
            Self::Write | Self::Read => false,
        }
    }

    /// Whether a message of this kind says which memory of the responder it is about.
    pub const fn names_memory(self) -> bool {
        match self {
            Self::Write | Self::WriteWithImm | Self::Read => true,
            Self::Send | Self::SendWithImm | Self::SendWithInvalidate => false,
        }
    }

    /// Whether a message of this kind brings immediate data.
    pub const fn has_imm(self) -> bool {
        match self {
            Self::SendWithImm | Self::WriteWithImm => true,
            Self::Send | Self::SendWithInvalidate | Self::Write | Self::Read => false,
        }
    }
}

/// Largest message: 2^31 bytes (IBTA 9.7.2).
pub const MAX_MESSAGE: u32 = 1 << 31;
