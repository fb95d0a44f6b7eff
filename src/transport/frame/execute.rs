// SPDX-License-Identifier: GPL-2.0

//! Header of a request that is carried out in the responder's memory as a whole, when its turn has come: an atomic operation, or
//! a FLUSH.

use super::wire::psn;
use super::wire::WireHeader;
use super::wire::WireHeaderMut;
use crate::transport::ids::Psn;
use crate::transport::ids::Rkey;
use crate::transport::opcode::Opcode;
use crate::transport::opcode::MAX_MESSAGE;
use crate::transport::opcode::WORD;

/// Where the selectivity of a FLUSH begins in its field; the placement types are below.
const SELECTIVITY_SHIFT: u32 = 8;

mod selectivity {
    pub(super) const RANGE: u32 = 0;
    pub(super) const REGION: u32 = 1;
}

/// The operands of an atomic operation: the payload of its request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Operands {
    /// COMPARE AND SWAP: what the word is compared with. FETCH AND ADD: what is added to it. ATOMIC WRITE: what it becomes.
    pub first: u64,
    /// COMPARE AND SWAP: what the word becomes if it is equal. Zero else.
    pub second: u64,
}

impl Operands {
    /// Length of the longest.
    pub const MAX_LEN: usize = 2 * WORD as usize;

    /// As they travel; those of an operation with one operand are the first half.
    pub fn to_bytes(self) -> [u8; Self::MAX_LEN] {
        let mut bytes = [0; Self::MAX_LEN];
        let (first, second) = bytes.split_at_mut(WORD as usize);
        first.copy_from_slice(&self.first.to_le_bytes());
        second.copy_from_slice(&self.second.to_le_bytes());
        bytes
    }

    /// From a payload; nothing if that is neither one operand nor two.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk()?;
        let second = match rest {
            [] => 0,
            rest => u64::from_le_bytes(rest.try_into().ok()?),
        };
        Some(Self {
            first: u64::from_le_bytes(*first),
            second,
        })
    }
}

/// How far a FLUSH takes what was written before it: some of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlushPlacement(u8);

impl FlushPlacement {
    /// Everybody sees it.
    pub const GLOBAL: Self = Self(1 << 0);
    /// It survives a loss of power.
    pub const PERSISTENT: Self = Self(1 << 1);

    const DEFINED: u8 = 0x3;

    /// Nothing if none of them is asked for, or what is not defined.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits != 0 && bits & !Self::DEFINED == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// Whether all of `placement` are asked for.
    pub const fn contains(self, placement: Self) -> bool {
        self.0 & placement.0 == placement.0
    }
}

impl Default for FlushPlacement {
    fn default() -> Self {
        Self::GLOBAL
    }
}

/// Which memory a FLUSH is about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FlushSelectivity {
    /// The range that the request names.
    #[default]
    Range,
    /// All of the region that its key names.
    Region,
}

/// What a FLUSH is to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flush {
    /// How far what was written is taken.
    pub placement: FlushPlacement,
    /// Which memory it is about.
    pub selectivity: FlushSelectivity,
}

impl Flush {
    const fn to_wire(self) -> u32 {
        let selectivity = match self.selectivity {
            FlushSelectivity::Range => selectivity::RANGE,
            FlushSelectivity::Region => selectivity::REGION,
        };
        self.placement.0 as u32 | selectivity << SELECTIVITY_SHIFT
    }

    fn from_wire(field: u32) -> Option<Self> {
        let placement = field & ((1 << SELECTIVITY_SHIFT) - 1);
        Some(Self {
            placement: FlushPlacement::new(placement as u8)?,
            selectivity: match field >> SELECTIVITY_SHIFT {
                selectivity::RANGE => FlushSelectivity::Range,
                selectivity::REGION => FlushSelectivity::Region,
                _ => return None,
            },
        })
    }
}

/// What is to be done in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// ATOMIC COMPARE AND SWAP of a word.
    CompareSwap,
    /// ATOMIC FETCH AND ADD to a word.
    FetchAdd,
    /// ATOMIC WRITE of a word.
    AtomicWrite,
    /// FLUSH of so many bytes.
    Flush {
        /// What it is to do.
        flush: Flush,
        /// Length of the range, up to 2^31.
        length: u32,
    },
}

impl Action {
    /// Its number.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::CompareSwap => Opcode::CompareSwap,
            Self::FetchAdd => Opcode::FetchAdd,
            Self::AtomicWrite => Opcode::AtomicWrite,
            Self::Flush { .. } => Opcode::Flush,
        }
    }

    /// How many bytes of memory it is about.
    pub const fn length(self) -> u32 {
        match self {
            Self::CompareSwap | Self::FetchAdd | Self::AtomicWrite => WORD,
            Self::Flush { length, .. } => length,
        }
    }

    /// Whether it may be done at this address.
    pub const fn is_aligned(self, va: u64) -> bool {
        match self {
            Self::CompareSwap | Self::FetchAdd | Self::AtomicWrite => va % WORD as u64 == 0,
            Self::Flush { .. } => true,
        }
    }

    /// Bytes of the answer: what the word was before, if that is asked for.
    pub const fn answer_len(self) -> u32 {
        match self {
            Self::CompareSwap | Self::FetchAdd => WORD,
            Self::AtomicWrite | Self::Flush { .. } => 0,
        }
    }
}

/// A request to do something in memory of the responder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExecuteRequest {
    /// What to do.
    pub action: Action,
    /// Remote address of the first byte.
    pub va: u64,
    /// Remote key.
    pub rkey: Rkey,
    /// The requester has all responses before this one.
    pub response_psn: Psn,
}

impl ExecuteRequest {
    pub(super) fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_va(self.va);
        wire.set_rkey(self.rkey.0);
        wire.set_rsn(self.response_psn.get());
        if let Action::Flush { flush, length } = self.action {
            wire.set_offset(length);
            wire.set_imm(flush.to_wire());
        }
    }

    /// Nothing if the opcode is none of these.
    pub(super) fn parse(opcode: Opcode, wire: &WireHeader<'_>) -> Option<Self> {
        let action = match opcode {
            Opcode::CompareSwap => Action::CompareSwap,
            Opcode::FetchAdd => Action::FetchAdd,
            Opcode::AtomicWrite => Action::AtomicWrite,
            Opcode::Flush if wire.offset() <= MAX_MESSAGE => Action::Flush {
                flush: Flush::from_wire(wire.imm())?,
                length: wire.offset(),
            },
            Opcode::Flush
            | Opcode::Send
            | Opcode::SendWithImm
            | Opcode::Write
            | Opcode::WriteWithImm
            | Opcode::Read => return None,
        };
        let is_valid = wire.payload_len() == opcode.operands_len();
        is_valid.then_some(Self {
            action,
            va: wire.va(),
            rkey: Rkey(wire.rkey()),
            response_psn: psn(wire.rsn())?,
        })
    }
}
