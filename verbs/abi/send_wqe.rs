// SPDX-License-Identifier: GPL-2.0

//! Send work requests: `struct rxe_send_wqe`.

use super::bytes::load_u32;
use super::bytes::load_u64;
use super::scatter::SGE_SIZE;
use crate::transport::frame::Flush;
use crate::transport::frame::FlushPlacement;
use crate::transport::frame::FlushSelectivity;
use crate::transport::frame::Operands;
use crate::transport::opcode::WORD;

/// Bytes before the elements or inline data; what [`SendWqe::decode`] takes.
pub const HEADER_SIZE: usize = 208;

pub(super) const WR_ID: usize = 0;
pub(super) const OPCODE: usize = 12;
pub(super) const FLAGS: usize = 16;
pub(super) const IMMEDIATE: usize = 20;
pub(super) const REMOTE_ADDRESS: usize = 24;
pub(super) const REMOTE_KEY: usize = 32;
/// Of COMPARE AND SWAP and FETCH AND ADD.
pub(super) const COMPARE_ADD: usize = 32;
pub(super) const SWAP: usize = 40;
pub(super) const ATOMIC_KEY: usize = 48;
/// Of FLUSH.
const FLUSH_KEY: usize = 36;
const FLUSH_PLACEMENT: usize = 40;
const FLUSH_LEVEL: usize = 41;
/// Of a binding: `struct rxe_send_wr`'s `wr.mw`.
const WINDOW_ADDRESS: usize = 24;
const WINDOW_LENGTH: usize = 32;
const WINDOW_REGION_KEY: usize = 40;
const WINDOW_KEY: usize = 44;
const WINDOW_NEW_KEY: usize = 48;
const WINDOW_ACCESS: usize = 52;
/// Of a registration, which is no process's to ask for: the driver's own layout.
pub(super) const REGISTER_ADDRESS: usize = 24;
pub(super) const REGISTER_LENGTH: usize = 32;
pub(super) const REGISTER_KEY: usize = 40;
pub(super) const REGISTER_ACCESS: usize = 44;
pub(super) const LENGTH: usize = 184;
pub(super) const NUM_SGE: usize = 196;

/// What the driver leaves behind the header in each slot that a process may fill. A process that writes a payload there
/// writes over it.
///
/// The provider of rdma-core up to 63 leaves the length of `ibv_wr_set_inline_data_list` zero, and sets no flag: the header
/// is that of an empty request, only these bytes differ. Data that begins with these, as far as it goes, is taken for none;
/// and what a request that was given up (`ibv_wr_abort`) leaves here is taken for data of an empty one that follows it.
pub const UNTOUCHED: [u8; 8] = [0xa7, 0x1d, 0xe9, 0x53, 0xc6, 0x8b, 0x94, 0x3e];

/// What a send work request asks for; the numbers are those of `enum ib_uverbs_wr_opcode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOperation {
    /// RDMA WRITE.
    Write(RemoteAddress),
    /// RDMA WRITE that also consumes a receive and hands over immediate data.
    WriteImmediate(RemoteAddress, Immediate),
    /// SEND.
    Send,
    /// SEND with immediate data.
    SendImmediate(Immediate),
    /// RDMA READ.
    Read(RemoteAddress),
    /// ATOMIC COMPARE AND SWAP.
    CompareSwap(RemoteAddress, Operands),
    /// ATOMIC FETCH AND ADD.
    FetchAdd(RemoteAddress, Operands),
    /// Make a local key invalid.
    LocalInvalidate(u32),
    /// Bind a memory window.
    BindWindow(WindowBinding),
    /// Register memory (`IB_WR_REG_MR`), which only the kernel can ask for.
    Register(MemoryRegistration),
    /// SEND that makes this key of the peer invalid.
    SendInvalidate(u32),
    /// FLUSH of so many bytes.
    Flush(RemoteAddress, Flush, u32),
    /// ATOMIC WRITE; the value is the payload.
    AtomicWrite(RemoteAddress),
}

impl SendOperation {
    /// Whether its local buffers are where the answer goes.
    fn fills_buffers(&self) -> bool {
        match self {
            Self::Read(_) | Self::CompareSwap(..) | Self::FetchAdd(..) => true,
            Self::Write(_)
            | Self::WriteImmediate(..)
            | Self::Send
            | Self::SendImmediate(_)
            | Self::LocalInvalidate(_)
            | Self::BindWindow(_)
            | Self::Register(_)
            | Self::SendInvalidate(_)
            | Self::Flush(..)
            | Self::AtomicWrite(_) => false,
        }
    }

    /// Its number.
    pub(super) fn opcode(&self) -> u32 {
        match self {
            Self::Write(_) => 0,
            Self::WriteImmediate(..) => 1,
            Self::Send => 2,
            Self::SendImmediate(_) => 3,
            Self::Read(_) => 4,
            Self::CompareSwap(..) => 5,
            Self::FetchAdd(..) => 6,
            Self::LocalInvalidate(_) => 7,
            Self::BindWindow(_) => 8,
            Self::SendInvalidate(_) => 9,
            Self::Flush(..) => 14,
            Self::AtomicWrite(_) => 15,
            Self::Register(_) => 0x20,
        }
    }

    /// Whether the host does it itself. The WQE's payload counts for nothing then.
    pub fn is_local(&self) -> bool {
        match self {
            Self::LocalInvalidate(_) | Self::BindWindow(_) | Self::Register(_) => true,
            Self::Write(_)
            | Self::WriteImmediate(..)
            | Self::Send
            | Self::SendImmediate(_)
            | Self::Read(_)
            | Self::CompareSwap(..)
            | Self::FetchAdd(..)
            | Self::SendInvalidate(_)
            | Self::Flush(..)
            | Self::AtomicWrite(_) => false,
        }
    }
}

/// How a memory window is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowBinding {
    /// Address of its first byte in the region.
    pub address: u64,
    /// Number of bytes.
    pub length: u64,
    /// Key of the region.
    pub region_key: u32,
    /// Key of the window until now.
    pub window_key: u32,
    /// Key of the window from then on, of which the low eight bits count.
    pub new_key: u32,
    /// `enum ib_access_flags`, as they were given.
    pub access: u32,
}

/// How memory is to be registered whose pages are known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegistration {
    /// The address that requests use for its first byte.
    pub address: u64,
    /// Number of bytes.
    pub length: u64,
    /// Its key from then on.
    pub key: u32,
    /// `enum ib_access_flags`, as they were given.
    pub access: u32,
}

/// Where in the peer's memory an RDMA operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Address in the remote region.
    pub address: u64,
    /// Remote key.
    pub rkey: u32,
}

/// Immediate data as a number (the ABI carries it in network byte order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Immediate(pub u32);

/// `enum ib_send_flags`, restricted to those RC knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFlags(u32);

impl SendFlags {
    /// `IB_SEND_FENCE`: wait for earlier READs.
    pub const FENCE: Self = Self(1 << 0);
    /// `IB_SEND_SIGNALED`: a successful completion is reported.
    pub const SIGNALED: Self = Self(1 << 1);
    /// `IB_SEND_SOLICITED`: the receiver gets a solicited event.
    pub const SOLICITED: Self = Self(1 << 2);
    /// `IB_SEND_INLINE`: the WQE carries the payload itself.
    pub const INLINE: Self = Self(1 << 3);

    /// The flags as a WQE carries them; unknown bits stay and are ignored.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The flags as a WQE carries them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// What follows the header in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// That many bytes of payload.
    Inline(u32),
    /// That many scatter/gather elements.
    Elements(u32),
}

impl Payload {
    /// Bytes to copy out of the slot, after the header.
    pub fn size(self) -> usize {
        match self {
            Self::Inline(bytes) => bytes as usize,
            Self::Elements(count) => count as usize * SGE_SIZE,
        }
    }
}

/// Why a WQE cannot be carried out. Its completion has the status `LOC_QP_OP_ERR`, or `LOC_LEN_ERR` where that is
/// said (IBTA 11.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendWqeError {
    /// Not an operation of this transport, or not one this device has.
    Opcode(u32),
    /// More elements than the queue was made for.
    TooManyElements(u32),
    /// More inline data than the queue was made for: `LOC_LEN_ERR`.
    InlineTooLong(u32),
    /// What is answered with data cannot take its destination from the WQE.
    InlineRead,
    /// A FLUSH that is not defined: its placement type and its selectivity.
    Flush(u8, u8),
    /// There is inline data, and no length.
    LengthMissing,
}

/// Who puts requests into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostedBy {
    /// A process, which may put anything there.
    Process,
    /// The driver, for a user in the kernel.
    Kernel,
}

/// What the queue was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// Elements per WQE.
    pub max_sge: u32,
    /// Inline bytes per WQE.
    pub max_inline: u32,
    /// Who puts them there.
    pub posted_by: PostedBy,
}

/// A checked send work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendWqe {
    /// The operation.
    pub operation: SendOperation,
    /// Flags of the request.
    pub flags: SendFlags,
    /// What follows the header, within the limits.
    pub payload: Payload,
}

/// The user's own name for a work request; valid whatever else is wrong with the WQE.
pub fn wr_id(header: &[u8; HEADER_SIZE]) -> u64 {
    load_u64::<WR_ID, HEADER_SIZE>(header)
}

impl RemoteAddress {
    fn with_key(self, rkey: u32) -> Self {
        Self { rkey, ..self }
    }
}

/// `enum ib_placement_type` and `enum ib_selectivity_level`.
fn flush(placement: u8, level: u8) -> Result<Flush, SendWqeError> {
    let selectivity = match level {
        0 => Some(FlushSelectivity::Range),
        1 => Some(FlushSelectivity::Region),
        _ => None,
    };
    FlushPlacement::new(placement)
        .zip(selectivity)
        .map(|(placement, selectivity)| Flush {
            placement,
            selectivity,
        })
        .ok_or(SendWqeError::Flush(placement, level))
}

impl SendWqe {
    /// Decodes and checks a copy of a WQE's header.
    pub fn decode(header: &[u8; HEADER_SIZE], limits: &SendLimits) -> Result<Self, SendWqeError> {
        let remote = RemoteAddress {
            address: load_u64::<REMOTE_ADDRESS, HEADER_SIZE>(header),
            rkey: load_u32::<REMOTE_KEY, HEADER_SIZE>(header),
        };
        let immediate = Immediate(u32::from_be(load_u32::<IMMEDIATE, HEADER_SIZE>(header)));
        let length = load_u32::<LENGTH, HEADER_SIZE>(header);
        // The same place, in the host's byte order.
        let invalid_key = load_u32::<IMMEDIATE, HEADER_SIZE>(header);
        let operation = match load_u32::<OPCODE, HEADER_SIZE>(header) {
            0 => SendOperation::Write(remote),
            1 => SendOperation::WriteImmediate(remote, immediate),
            2 => SendOperation::Send,
            3 => SendOperation::SendImmediate(immediate),
            4 => SendOperation::Read(remote),
            5 => SendOperation::CompareSwap(
                remote.with_key(load_u32::<ATOMIC_KEY, HEADER_SIZE>(header)),
                Operands {
                    first: load_u64::<COMPARE_ADD, HEADER_SIZE>(header),
                    second: load_u64::<SWAP, HEADER_SIZE>(header),
                },
            ),
            6 => SendOperation::FetchAdd(
                remote.with_key(load_u32::<ATOMIC_KEY, HEADER_SIZE>(header)),
                Operands {
                    first: load_u64::<COMPARE_ADD, HEADER_SIZE>(header),
                    second: 0,
                },
            ),
            7 => SendOperation::LocalInvalidate(invalid_key),
            8 => SendOperation::BindWindow(WindowBinding {
                address: load_u64::<WINDOW_ADDRESS, HEADER_SIZE>(header),
                length: load_u64::<WINDOW_LENGTH, HEADER_SIZE>(header),
                region_key: load_u32::<WINDOW_REGION_KEY, HEADER_SIZE>(header),
                window_key: load_u32::<WINDOW_KEY, HEADER_SIZE>(header),
                new_key: load_u32::<WINDOW_NEW_KEY, HEADER_SIZE>(header),
                access: load_u32::<WINDOW_ACCESS, HEADER_SIZE>(header),
            }),
            9 => SendOperation::SendInvalidate(invalid_key),
            14 => SendOperation::Flush(
                remote.with_key(load_u32::<FLUSH_KEY, HEADER_SIZE>(header)),
                flush(header[FLUSH_PLACEMENT], header[FLUSH_LEVEL])?,
                length,
            ),
            15 => SendOperation::AtomicWrite(remote),
            0x20 if limits.posted_by == PostedBy::Kernel => {
                SendOperation::Register(MemoryRegistration {
                    address: load_u64::<REGISTER_ADDRESS, HEADER_SIZE>(header),
                    length: load_u64::<REGISTER_LENGTH, HEADER_SIZE>(header),
                    key: load_u32::<REGISTER_KEY, HEADER_SIZE>(header),
                    access: load_u32::<REGISTER_ACCESS, HEADER_SIZE>(header),
                })
            }
            other => return Err(SendWqeError::Opcode(other)),
        };
        let flags = SendFlags::from_bits(load_u32::<FLAGS, HEADER_SIZE>(header));
        let count = load_u32::<NUM_SGE, HEADER_SIZE>(header);
        // `ibv_wr_set_inline_data` sets no flag, but a length without elements. With elements, theirs count: up to
        // rdma-core 63, `ibv_wr_set_sge_list` set that of the first, as often as there are any.
        let is_inline = flags.contains(SendFlags::INLINE) || (count == 0 && length > 0);
        let payload = if operation.is_local() || matches!(operation, SendOperation::Flush(..)) {
            Payload::Elements(0)
        } else if let SendOperation::AtomicWrite(_) = operation {
            if limits.max_inline < WORD {
                return Err(SendWqeError::InlineTooLong(WORD));
            }
            Payload::Inline(WORD)
        } else if is_inline {
            if length > limits.max_inline {
                return Err(SendWqeError::InlineTooLong(length));
            }
            if operation.fills_buffers() {
                return Err(SendWqeError::InlineRead);
            }
            Payload::Inline(length)
        } else {
            if count > limits.max_sge {
                return Err(SendWqeError::TooManyElements(count));
            }
            Payload::Elements(count)
        };
        Ok(Self {
            operation,
            flags,
            payload,
        })
    }

    /// Checks that a request without payload was meant to have none. `first` is a copy of what follows its header.
    pub fn check_empty(&self, first: &[u8; UNTOUCHED.len()]) -> Result<(), SendWqeError> {
        // These never have any: what is there is of a request that was given up.
        let has_none =
            self.operation.is_local() || matches!(self.operation, SendOperation::Flush(..));
        if !has_none && self.payload.size() == 0 && *first != UNTOUCHED {
            return Err(SendWqeError::LengthMissing);
        }
        Ok(())
    }
}
