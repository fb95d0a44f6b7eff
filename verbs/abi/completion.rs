// SPDX-License-Identifier: GPL-2.0

//! Completion queue entries: `struct ib_uverbs_wc`.

use super::bytes::store;
use super::send_wqe::Immediate;
use crate::transport::frame::Network;
use crate::transport::status::CompletionStatus;

/// Bytes of one entry. Slots are 64 bytes; the rest stays zero.
pub const CQE_SIZE: usize = 48;

/// What completed: `enum ib_uverbs_wc_opcode`, and `enum ibv_wc_opcode` for receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WcOpcode {
    /// SEND, with or without immediate data.
    Send = 0,
    /// RDMA WRITE, with or without immediate data.
    Write = 1,
    /// RDMA READ.
    Read = 2,
    /// ATOMIC COMPARE AND SWAP.
    CompareSwap = 3,
    /// ATOMIC FETCH AND ADD.
    FetchAdd = 4,
    /// A memory window was bound.
    BindWindow = 5,
    /// A key was made invalid.
    LocalInvalidate = 6,
    /// FLUSH.
    Flush = 8,
    /// ATOMIC WRITE.
    AtomicWrite = 9,
    /// Memory was registered. No process asks for that: `IB_WC_REG_MR`.
    Register = 10,
    /// A receive that a SEND filled.
    Receive = 1 << 7,
    /// A receive that a WRITE WITH IMMEDIATE consumed.
    ReceiveWriteImmediate = (1 << 7) + 1,
}

/// `IBV_WC_GRH`.
const NETWORK_HEADER: u32 = 1 << 0;
/// `IBV_WC_WITH_IMM`.
const WITH_IMMEDIATE: u32 = 1 << 1;
/// `IBV_WC_WITH_INV`, which is not `IB_WC_WITH_INVALIDATE`.
const WITH_INVALIDATED_KEY: u32 = 1 << 3;

/// What a receive brings beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// Immediate data.
    Immediate(Immediate),
    /// The key that was made invalid.
    InvalidatedKey(u32),
}

/// What a receive begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The message.
    Message,
    /// The 40 bytes of the network header; the message is behind them.
    NetworkHeader(Network),
}

/// What the service level says of a datagram. A completion has to tell which network it came by (IBTA annex A17.4.5.1), and
/// `struct ib_uverbs_wc` has no other place for it; what mlx5's cards put there is what UCX goes by.
mod packet_type {
    pub(super) const IPV6: u8 = 1;
    pub(super) const IPV4: u8 = 2;
    /// Beside either: by UDP, which is RoCE v2.
    pub(super) const UDP: u8 = 1 << 3;
}

/// The only port's number.
const PORT: u8 = 1;

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The work request's name.
    pub wr_id: u64,
    /// How the request ended.
    pub status: CompletionStatus,
    /// What it was; the user must not look at it unless the status is success.
    pub opcode: WcOpcode,
    /// Bytes transferred (receives and READs).
    pub byte_len: u32,
    /// What comes with a receive.
    pub extra: Extra,
    /// Number of the local QP.
    pub qp_num: u32,
    /// Number of the peer's QP (receives).
    pub src_qp: u32,
    /// What a receive begins with.
    pub contents: Contents,
}

impl Completion {
    /// The entry as the provider copies it.
    pub fn encode(&self) -> [u8; CQE_SIZE] {
        let mut bytes = [0; CQE_SIZE];
        store::<0, 8, CQE_SIZE>(&mut bytes, self.wr_id.to_ne_bytes());
        store::<8, 4, CQE_SIZE>(&mut bytes, (self.status as u32).to_ne_bytes());
        store::<12, 4, CQE_SIZE>(&mut bytes, (self.opcode as u32).to_ne_bytes());
        store::<20, 4, CQE_SIZE>(&mut bytes, self.byte_len.to_ne_bytes());
        let flags = match self.extra {
            Extra::None => 0,
            Extra::Immediate(Immediate(immediate)) => {
                store::<24, 4, CQE_SIZE>(&mut bytes, immediate.to_be_bytes());
                WITH_IMMEDIATE
            }
            Extra::InvalidatedKey(key) => {
                store::<24, 4, CQE_SIZE>(&mut bytes, key.to_ne_bytes());
                WITH_INVALIDATED_KEY
            }
        };
        let flags = match self.contents {
            Contents::Message => flags,
            Contents::NetworkHeader(network) => {
                let network = match network {
                    Network::Ipv4 => packet_type::IPV4,
                    Network::Ipv6 => packet_type::IPV6,
                };
                store::<44, 1, CQE_SIZE>(&mut bytes, [network | packet_type::UDP]);
                store::<46, 1, CQE_SIZE>(&mut bytes, [PORT]);
                flags | NETWORK_HEADER
            }
        };
        store::<36, 4, CQE_SIZE>(&mut bytes, flags.to_ne_bytes());
        store::<28, 4, CQE_SIZE>(&mut bytes, self.qp_num.to_ne_bytes());
        store::<32, 4, CQE_SIZE>(&mut bytes, self.src_qp.to_ne_bytes());
        bytes
    }
}
