// SPDX-License-Identifier: GPL-2.0

//! Completion queue entries: `struct ib_uverbs_wc`.

use super::bytes::store;
use super::send_wqe::Immediate;
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
    /// FLUSH.
    Flush = 8,
    /// ATOMIC WRITE.
    AtomicWrite = 9,
    /// A receive that a SEND filled.
    Receive = 1 << 7,
    /// A receive that a WRITE WITH IMMEDIATE consumed.
    ReceiveWriteImmediate = (1 << 7) + 1,
}

/// `IBV_WC_GRH`.
const NETWORK_HEADER: u32 = 1 << 0;
/// `IBV_WC_WITH_IMM`.
const WITH_IMMEDIATE: u32 = 1 << 1;

/// What a receive begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The message.
    Message,
    /// The 40 bytes of the network header; the message is behind them.
    NetworkHeader,
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
    /// Immediate data of a receive.
    pub immediate: Option<Immediate>,
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
        let mut flags = 0;
        if let Some(Immediate(immediate)) = self.immediate {
            store::<24, 4, CQE_SIZE>(&mut bytes, immediate.to_be_bytes());
            flags |= WITH_IMMEDIATE;
        }
        if self.contents == Contents::NetworkHeader {
            store::<46, 1, CQE_SIZE>(&mut bytes, [PORT]);
            flags |= NETWORK_HEADER;
        }
        store::<36, 4, CQE_SIZE>(&mut bytes, flags.to_ne_bytes());
        store::<28, 4, CQE_SIZE>(&mut bytes, self.qp_num.to_ne_bytes());
        store::<32, 4, CQE_SIZE>(&mut bytes, self.src_qp.to_ne_bytes());
        bytes
    }
}
