// SPDX-License-Identifier: GPL-2.0

//! Completions as users in the kernel poll them.

use crate::verbs::bindings;

/// A queue pair as its completions name it. Whoever polls them sees to it that it exists.
#[derive(Clone, Copy, Debug)]
pub struct QpReference(*mut bindings::ib_qp);

// SAFETY: The pointer is only handed on.
unsafe impl Send for QpReference {}
// SAFETY: As above.
unsafe impl Sync for QpReference {}

impl QpReference {
    /// That of a queue pair, or of none.
    pub fn new(qp: *mut bindings::ib_qp) -> Self {
        Self(qp)
    }
}

/// The network that a datagram came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompletionNetwork {
    /// RoCE v2 over IPv4.
    Ipv4,
    /// RoCE v2 over IPv6.
    Ipv6,
}

/// What a receive brings beside its payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompletionExtra {
    /// Nothing.
    None,
    /// Immediate data.
    Immediate(u32),
    /// The key that was made invalid.
    InvalidatedKey(u32),
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct WorkCompletion {
    /// The work request's name.
    pub wr_id: u64,
    /// How it ended (IBTA 11.6.2; `enum ib_wc_status`).
    pub status: u32,
    /// What it was: as processes are told (`enum ib_uverbs_wc_opcode`), and `IB_WC_RECV` for receives.
    pub opcode: u32,
    /// Bytes transferred.
    pub byte_len: u32,
    /// What comes with a receive.
    pub extra: CompletionExtra,
    /// Its queue pair.
    pub qp: QpReference,
    /// Number of the peer's queue pair.
    pub src_qp: u32,
    /// Of a datagram: the network, whose header the receive's buffers begin with.
    pub network: Option<CompletionNetwork>,
}

/// The only port.
const PORT: u32 = 1;

impl WorkCompletion {
    pub(super) fn into_raw(self) -> bindings::ib_wc {
        let mut raw = bindings::ib_wc {
            status: self.status as bindings::ib_wc_status,
            opcode: self.opcode as bindings::ib_wc_opcode,
            byte_len: self.byte_len,
            qp: self.qp.0,
            src_qp: self.src_qp,
            port_num: PORT,
            ..pin_init::zeroed()
        };
        raw.__bindgen_anon_1.wr_id = self.wr_id;
        let mut flags = 0;
        match self.extra {
            CompletionExtra::None => {}
            CompletionExtra::Immediate(immediate) => {
                raw.ex.imm_data = immediate.to_be();
                flags |= bindings::ib_wc_flags_IB_WC_WITH_IMM;
            }
            CompletionExtra::InvalidatedKey(key) => {
                raw.ex.invalidate_rkey = key;
                flags |= bindings::ib_wc_flags_IB_WC_WITH_INVALIDATE;
            }
        }
        if let Some(network) = self.network {
            flags |=
                bindings::ib_wc_flags_IB_WC_GRH | bindings::ib_wc_flags_IB_WC_WITH_NETWORK_HDR_TYPE;
            raw.network_hdr_type = match network {
                CompletionNetwork::Ipv4 => bindings::rdma_network_type_RDMA_NETWORK_IPV4,
                CompletionNetwork::Ipv6 => bindings::rdma_network_type_RDMA_NETWORK_IPV6,
            } as u8;
        }
        raw.wc_flags = flags as kernel::ffi::c_int;
        raw
    }
}
