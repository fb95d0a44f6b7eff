// SPDX-License-Identifier: GPL-2.0

//! Completion queue entries.

use std::fmt;

use super::sys;
use super::Qpn;

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident($inner:ty), $($(#[$each:meta])* $name:ident = $value:ident,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type($inner);

        impl $type {
            $($(#[$each])* pub const $name: Self = Self(sys::$value);)+

            pub(super) fn from_raw(raw: $inner) -> Self {
                Self(raw)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $(sys::$value => f.write_str(stringify!($name)),)+
                    other => write!(f, concat!(stringify!($type), "({})"), other),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes!(
    /// How a work request ended (IBTA vol. 1, 11.6.2).
    Status(sys::ibv_wc_status),
    /// Done.
    SUCCESS = IBV_WC_SUCCESS,
    /// A message longer than the buffers or the port allow.
    LOC_LEN_ERR = IBV_WC_LOC_LEN_ERR,
    /// An inconsistency of the queue pair itself.
    LOC_QP_OP_ERR = IBV_WC_LOC_QP_OP_ERR,
    /// A local buffer without a valid region.
    LOC_PROT_ERR = IBV_WC_LOC_PROT_ERR,
    /// Flushed by a queue pair in the error state.
    WR_FLUSH_ERR = IBV_WC_WR_FLUSH_ERR,
    /// A response that does not fit the request.
    BAD_RESP_ERR = IBV_WC_BAD_RESP_ERR,
    /// A protection error while an incoming request was placed.
    LOC_ACCESS_ERR = IBV_WC_LOC_ACCESS_ERR,
    /// The responder found the request invalid.
    REM_INV_REQ_ERR = IBV_WC_REM_INV_REQ_ERR,
    /// The responder refused access to its memory.
    REM_ACCESS_ERR = IBV_WC_REM_ACCESS_ERR,
    /// The responder failed to complete the request.
    REM_OP_ERR = IBV_WC_REM_OP_ERR,
    /// No answer after all retries.
    RETRY_EXC_ERR = IBV_WC_RETRY_EXC_ERR,
    /// No receive WQE after all RNR retries.
    RNR_RETRY_EXC_ERR = IBV_WC_RNR_RETRY_EXC_ERR,
    /// A fatal error of the transport.
    FATAL_ERR = IBV_WC_FATAL_ERR,
    /// Anything else.
    GENERAL_ERR = IBV_WC_GENERAL_ERR,
);

codes!(
    /// What a completed work request was.
    Opcode(sys::ibv_wc_opcode),
    /// SEND, with or without immediate data.
    SEND = IBV_WC_SEND,
    /// RDMA WRITE, with or without immediate data.
    RDMA_WRITE = IBV_WC_RDMA_WRITE,
    /// RDMA READ.
    RDMA_READ = IBV_WC_RDMA_READ,
    /// ATOMIC COMPARE AND SWAP.
    COMP_SWAP = IBV_WC_COMP_SWAP,
    /// ATOMIC FETCH AND ADD.
    FETCH_ADD = IBV_WC_FETCH_ADD,
    /// FLUSH.
    FLUSH = IBV_WC_FLUSH,
    /// ATOMIC WRITE.
    ATOMIC_WRITE = IBV_WC_ATOMIC_WRITE,
    /// A receive that a SEND filled.
    RECV = IBV_WC_RECV,
    /// A receive that an RDMA WRITE with immediate data consumed.
    RECV_RDMA_WITH_IMM = IBV_WC_RECV_RDMA_WITH_IMM,
);

/// A CQE. With a status other than success only `wr_id`, `status` and `qpn` mean anything.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// As given in the work request.
    pub wr_id: u64,
    /// How it ended.
    pub status: Status,
    /// What it was.
    pub opcode: Opcode,
    /// Bytes received or read; not defined for other requests.
    pub byte_len: u32,
    /// Immediate data in host order, when there is any.
    pub imm: Option<u32>,
    /// The local queue pair.
    pub qpn: Qpn,
    /// The queue pair that a datagram came from.
    pub source: Qpn,
    /// Whether the receive begins with a network header.
    pub has_network_header: bool,
}

impl Completion {
    pub(super) fn from_raw(raw: &sys::ibv_wc) -> Self {
        let with_imm = raw.wc_flags & sys::IBV_WC_WITH_IMM != 0;
        // SAFETY: Both variants of the union are 32 bits of plain data.
        let imm = u32::from_be(unsafe { raw.__bindgen_anon_1.imm_data });
        Self {
            wr_id: raw.wr_id,
            status: Status::from_raw(raw.status),
            opcode: Opcode::from_raw(raw.opcode),
            byte_len: raw.byte_len,
            imm: with_imm.then_some(imm),
            qpn: Qpn(raw.qp_num),
            source: Qpn(raw.src_qp),
            has_network_header: raw.wc_flags & sys::IBV_WC_GRH != 0,
        }
    }
}
