// SPDX-License-Identifier: GPL-2.0

//! Work requests, and their translation into the library's linked lists.

use super::sys;
use super::Lkey;
use super::RemoteAddr;

/// A scatter/gather element: local bytes under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sge {
    /// Virtual address of the first byte.
    pub address: u64,
    /// Number of bytes.
    pub length: u32,
    /// The key of the region they are in.
    pub lkey: Lkey,
}

/// What a send request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A message into the peer's next receive.
    Send {
        /// Immediate data, host order.
        imm: Option<u32>,
    },
    /// Bytes into the peer's memory.
    Write {
        /// Where to.
        remote: RemoteAddr,
        /// Immediate data, host order; consumes one of the peer's receives.
        imm: Option<u32>,
    },
    /// Bytes out of the peer's memory.
    Read {
        /// Where from.
        remote: RemoteAddr,
    },
    /// A word of the peer's memory becomes another one, if it is what is expected.
    CompareSwap {
        /// Which word.
        remote: RemoteAddr,
        /// What it is expected to be.
        compare: u64,
        /// What it becomes.
        swap: u64,
    },
    /// Something is added to a word of the peer's memory.
    FetchAdd {
        /// Which word.
        remote: RemoteAddr,
        /// What is added.
        add: u64,
    },
    /// A word of the peer's memory is written at once. Posted by calls only.
    AtomicWrite {
        /// Which word.
        remote: RemoteAddr,
        /// What it becomes.
        value: u64,
    },
    /// All that was written before becomes visible to everybody. Posted by calls only.
    Flush {
        /// Where the bytes begin.
        remote: RemoteAddr,
        /// How many.
        length: usize,
    },
}

/// Where a send request's bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'r> {
    /// In registered memory.
    Sges(&'r [Sge]),
    /// Copied into the WQE while posting, from several pieces.
    Inline(&'r [Vec<u8>]),
}

bitflags::bitflags! {
    /// Modifiers of a send request.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SendFlags: u32 {
        /// Wait for earlier READs and atomics.
        const FENCE = sys::IBV_SEND_FENCE;
        /// Make a CQE on success.
        const SIGNALED = sys::IBV_SEND_SIGNALED;
        /// Raise a solicited event at the receiver.
        const SOLICITED = sys::IBV_SEND_SOLICITED;
    }
}

/// A request for the send queue.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'r> {
    /// Comes back in the CQE.
    pub wr_id: u64,
    /// What to do.
    pub operation: Operation,
    /// The local bytes.
    pub payload: Payload<'r>,
    /// Modifiers.
    pub flags: SendFlags,
}

/// A request for a receive queue.
#[derive(Clone, Copy, Debug)]
pub struct RecvRequest<'r> {
    /// Comes back in the CQE.
    pub wr_id: u64,
    /// Where a SEND's bytes go, in order. May be empty.
    pub sges: &'r [Sge],
}

fn raw_sge(sge: &Sge) -> sys::ibv_sge {
    sys::ibv_sge {
        addr: sge.address,
        length: sge.length,
        lkey: sge.lkey.0,
    }
}

/// A list of send requests in the library's form. The vectors own what the raw pointers name; their
/// heap blocks do not move when the struct does.
pub(super) struct SendChain {
    requests: Vec<sys::ibv_send_wr>,
    _sges: Vec<Vec<sys::ibv_sge>>,
}

impl SendChain {
    pub(super) fn new(requests: &[SendRequest<'_>]) -> Self {
        let mut sges: Vec<Vec<sys::ibv_sge>> = requests
            .iter()
            .map(|request| match request.payload {
                Payload::Sges(list) => list.iter().map(raw_sge).collect(),
                // The borrow of the pieces outlives the post call, which copies them.
                Payload::Inline(pieces) => pieces
                    .iter()
                    .map(|piece| sys::ibv_sge {
                        addr: piece.as_ptr() as u64,
                        length: u32::try_from(piece.len()).unwrap_or(u32::MAX),
                        lkey: 0,
                    })
                    .collect(),
            })
            .collect();
        let mut raw: Vec<sys::ibv_send_wr> = requests
            .iter()
            .zip(&mut sges)
            .map(|(request, sges)| raw_send(request, sges))
            .collect();
        for index in 1..raw.len() {
            let next = &raw mut raw[index];
            raw[index - 1].next = next;
        }
        Self {
            requests: raw,
            _sges: sges,
        }
    }

    pub(super) fn head(&mut self) -> *mut sys::ibv_send_wr {
        match self.requests.first_mut() {
            Some(first) => first,
            None => std::ptr::null_mut(),
        }
    }

    /// Which request of the list `bad` points to.
    pub(super) fn index_of(&self, bad: *mut sys::ibv_send_wr) -> usize {
        self.requests
            .iter()
            .position(|request| std::ptr::eq(request, bad))
            .unwrap_or(self.requests.len())
    }
}

fn raw_send(request: &SendRequest<'_>, sges: &mut [sys::ibv_sge]) -> sys::ibv_send_wr {
    // SAFETY: ibv_send_wr is integers, raw pointers and unions of them; zeroes are a valid value.
    let mut raw: sys::ibv_send_wr = unsafe { std::mem::zeroed() };
    raw.wr_id = request.wr_id;
    raw.sg_list = sges.as_mut_ptr();
    raw.num_sge = i32::try_from(sges.len()).unwrap_or(i32::MAX);
    raw.send_flags = request.flags.bits();
    if matches!(request.payload, Payload::Inline(_)) {
        raw.send_flags |= sys::IBV_SEND_INLINE;
    }
    let (opcode, remote, imm) = match request.operation {
        Operation::Send { imm: None } => (sys::IBV_WR_SEND, None, None),
        Operation::Send { imm } => (sys::IBV_WR_SEND_WITH_IMM, None, imm),
        Operation::Write { remote, imm: None } => (sys::IBV_WR_RDMA_WRITE, Some(remote), None),
        Operation::Write { remote, imm } => (sys::IBV_WR_RDMA_WRITE_WITH_IMM, Some(remote), imm),
        Operation::Read { remote } => (sys::IBV_WR_RDMA_READ, Some(remote), None),
        Operation::CompareSwap {
            remote,
            compare,
            swap,
        } => {
            raw.wr.atomic = atomic(remote, compare, swap);
            (sys::IBV_WR_ATOMIC_CMP_AND_SWP, None, None)
        }
        Operation::FetchAdd { remote, add } => {
            raw.wr.atomic = atomic(remote, add, 0);
            (sys::IBV_WR_ATOMIC_FETCH_AND_ADD, None, None)
        }
        // The library refuses these.
        Operation::AtomicWrite { remote, .. } => (sys::IBV_WR_ATOMIC_WRITE, Some(remote), None),
        Operation::Flush { remote, .. } => (sys::IBV_WR_FLUSH, Some(remote), None),
    };
    raw.opcode = opcode;
    if let Some(remote) = remote {
        raw.wr.rdma.remote_addr = remote.address;
        raw.wr.rdma.rkey = remote.rkey.0;
    }
    if let Some(imm) = imm {
        raw.__bindgen_anon_1.imm_data = imm.to_be();
    }
    raw
}

fn atomic(
    remote: RemoteAddr,
    compare_add: u64,
    swap: u64,
) -> sys::ibv_send_wr__bindgen_ty_2__bindgen_ty_2 {
    sys::ibv_send_wr__bindgen_ty_2__bindgen_ty_2 {
        remote_addr: remote.address,
        compare_add,
        swap,
        rkey: remote.rkey.0,
    }
}

/// A list of receive requests in the library's form, as [`SendChain`].
pub(super) struct RecvChain {
    requests: Vec<sys::ibv_recv_wr>,
    _sges: Vec<Vec<sys::ibv_sge>>,
}

impl RecvChain {
    pub(super) fn new(requests: &[RecvRequest<'_>]) -> Self {
        let mut sges: Vec<Vec<sys::ibv_sge>> = requests
            .iter()
            .map(|request| request.sges.iter().map(raw_sge).collect())
            .collect();
        let mut raw: Vec<sys::ibv_recv_wr> = requests
            .iter()
            .zip(&mut sges)
            .map(|(request, sges)| sys::ibv_recv_wr {
                wr_id: request.wr_id,
                next: std::ptr::null_mut(),
                sg_list: sges.as_mut_ptr(),
                num_sge: i32::try_from(sges.len()).unwrap_or(i32::MAX),
            })
            .collect();
        for index in 1..raw.len() {
            let next = &raw mut raw[index];
            raw[index - 1].next = next;
        }
        Self {
            requests: raw,
            _sges: sges,
        }
    }

    pub(super) fn head(&mut self) -> *mut sys::ibv_recv_wr {
        match self.requests.first_mut() {
            Some(first) => first,
            None => std::ptr::null_mut(),
        }
    }

    /// Which request of the list `bad` points to.
    pub(super) fn index_of(&self, bad: *mut sys::ibv_recv_wr) -> usize {
        self.requests
            .iter()
            .position(|request| std::ptr::eq(request, bad))
            .unwrap_or(self.requests.len())
    }
}
