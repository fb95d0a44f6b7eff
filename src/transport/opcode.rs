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
    /// ATOMIC COMPARE AND SWAP.
    CompareSwap = 6,
    /// ATOMIC FETCH AND ADD.
    FetchAdd = 7,
    /// ATOMIC WRITE.
    AtomicWrite = 8,
    /// FLUSH.
    Flush = 9,
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
            6 => Some(Self::CompareSwap),
            7 => Some(Self::FetchAdd),
            8 => Some(Self::AtomicWrite),
            9 => Some(Self::Flush),
            _ => None,
        }
    }

    /// What it is called in log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "SEND",
            Self::SendWithImm => "SEND with immediate data",
            Self::Write => "WRITE",
            Self::WriteWithImm => "WRITE with immediate data",
            Self::Read => "READ",
            Self::CompareSwap => "COMPARE AND SWAP",
            Self::FetchAdd => "FETCH AND ADD",
            Self::AtomicWrite => "ATOMIC WRITE",
            Self::Flush => "FLUSH",
        }
    }

    /// Whether a message of this kind uses up a receive request.
    pub const fn consumes_receive(self) -> bool {
        match self {
            Self::Send | Self::SendWithImm | Self::WriteWithImm => true,
            Self::Write
            | Self::Read
            | Self::CompareSwap
            | Self::FetchAdd
            | Self::AtomicWrite
            | Self::Flush => false,
        }
    }

    /// Whether a message of this kind says which memory of the responder it is about.
    pub const fn names_memory(self) -> bool {
        match self {
            Self::Write
            | Self::WriteWithImm
            | Self::Read
            | Self::CompareSwap
            | Self::FetchAdd
            | Self::AtomicWrite
            | Self::Flush => true,
            Self::Send | Self::SendWithImm => false,
        }
    }

    /// Whether a message of this kind brings immediate data.
    pub const fn has_imm(self) -> bool {
        match self {
            Self::SendWithImm | Self::WriteWithImm => true,
            Self::Send
            | Self::Write
            | Self::Read
            | Self::CompareSwap
            | Self::FetchAdd
            | Self::AtomicWrite
            | Self::Flush => false,
        }
    }

    /// Whether a request of this kind is complete with an answer, and not with an acknowledgement. It is one PSN, and counts
    /// towards `max_rd_atomic`.
    pub const fn is_answered(self) -> bool {
        match self {
            Self::Read | Self::CompareSwap | Self::FetchAdd | Self::AtomicWrite | Self::Flush => {
                true
            }
            Self::Send | Self::SendWithImm | Self::Write | Self::WriteWithImm => false,
        }
    }

    /// Bytes of the operands that a request of this kind brings as its payload.
    pub const fn operands_len(self) -> u32 {
        match self {
            Self::CompareSwap => 2 * WORD,
            Self::FetchAdd | Self::AtomicWrite => WORD,
            Self::Send
            | Self::SendWithImm
            | Self::Write
            | Self::WriteWithImm
            | Self::Read
            | Self::Flush => 0,
        }
    }
}

/// Bytes that an atomic operation is about; they are aligned to as many.
pub const WORD: u32 = 8;

/// Largest message: 2^31 bytes (IBTA 9.7.2).
pub const MAX_MESSAGE: u32 = 1 << 31;
