// SPDX-License-Identifier: GPL-2.0

//! The extended interface of a queue pair: a call for each part of a request in place of a list
//! (ibv_wr_post(3)). The header's functions for it are inline, so they are spelled out here.

use std::ffi::c_int;
use std::mem::offset_of;
use std::ptr::NonNull;

use super::sys;
use super::Operation;
use super::Payload;
use super::SendRequest;

/// How requests get into a send queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Posting {
    /// As lists (ibv_post_send(3)).
    #[default]
    Lists,
    /// By calls (ibv_wr_post(3)).
    Calls,
}

/// What can be posted by calls.
const OPERATIONS: u32 = sys::IBV_QP_EX_WITH_RDMA_WRITE
    | sys::IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM
    | sys::IBV_QP_EX_WITH_SEND
    | sys::IBV_QP_EX_WITH_SEND_WITH_IMM
    | sys::IBV_QP_EX_WITH_RDMA_READ
    | sys::IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP
    | sys::IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD
    | sys::IBV_QP_EX_WITH_ATOMIC_WRITE
    | sys::IBV_QP_EX_WITH_FLUSH;

/// Makes a queue pair that requests can be posted to by calls: the header's inline ibv_create_qp_ex.
///
/// # Safety
///
/// What `attr` points to must be alive, and `pd` be its domain.
pub(super) unsafe fn create(
    pd: NonNull<sys::ibv_pd>,
    attr: &mut sys::ibv_qp_init_attr,
) -> *mut sys::ibv_qp {
    // SAFETY: Integers and raw pointers; zeroes are a valid value.
    let mut extended: sys::ibv_qp_init_attr_ex = unsafe { std::mem::zeroed() };
    extended.send_cq = attr.send_cq;
    extended.recv_cq = attr.recv_cq;
    extended.srq = attr.srq;
    extended.cap = attr.cap;
    extended.qp_type = attr.qp_type;
    extended.comp_mask = sys::IBV_QP_INIT_ATTR_PD | sys::IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    extended.pd = pd.as_ptr();
    extended.send_ops_flags = u64::from(OPERATIONS);
    // SAFETY: The domain is alive, and so is its context. A context of this library says so in `abi_compat`, and is
    // then a part of a larger structure.
    let qp = unsafe {
        let context = pd.as_ref().context;
        if (*context).abi_compat as usize != usize::MAX {
            return std::ptr::null_mut();
        }
        let outer = context
            .byte_sub(offset_of!(sys::verbs_context, context))
            .cast::<sys::verbs_context>();
        match (*outer).create_qp_ex {
            Some(create) => create(context, &mut extended),
            None => std::ptr::null_mut(),
        }
    };
    attr.cap = extended.cap;
    qp
}

/// Posts requests to a queue pair that [`create`] made; the result is that of ibv_wr_complete.
///
/// # Safety
///
/// The queue pair must be alive.
pub(super) unsafe fn post(qp: NonNull<sys::ibv_qp>, requests: &[SendRequest<'_>]) -> c_int {
    // SAFETY: The queue pair is alive and was made for this. The provider has set each of the calls that are made; what
    // they are given lives until they return.
    unsafe {
        let qp = sys::ibv_qp_to_qp_ex(qp.as_ptr());
        ((*qp).wr_start.expect("every provider starts"))(qp);
        for request in requests {
            (*qp).wr_id = request.wr_id;
            (*qp).wr_flags = request.flags.bits();
            begin(qp, request.operation);
            match request.operation {
                // Their operands are given at once.
                Operation::AtomicWrite { .. } | Operation::Flush { .. } => {}
                Operation::Send { .. }
                | Operation::Write { .. }
                | Operation::Read { .. }
                | Operation::CompareSwap { .. }
                | Operation::FetchAdd { .. } => attach(qp, &request.payload),
            }
        }
        ((*qp).wr_complete.expect("every provider completes"))(qp)
    }
}

/// # Safety
///
/// As for [`post`], which has started.
unsafe fn begin(qp: *mut sys::ibv_qp_ex, operation: Operation) {
    const ASKED_FOR: &str = "the operation was asked for when the queue pair was made";
    // SAFETY: See above.
    unsafe {
        match operation {
            Operation::Send { imm: None } => ((*qp).wr_send.expect(ASKED_FOR))(qp),
            Operation::Send { imm: Some(imm) } => {
                ((*qp).wr_send_imm.expect(ASKED_FOR))(qp, imm.to_be());
            }
            Operation::Write { remote, imm: None } => {
                ((*qp).wr_rdma_write.expect(ASKED_FOR))(qp, remote.rkey.0, remote.address);
            }
            Operation::Write {
                remote,
                imm: Some(imm),
            } => {
                let write = (*qp).wr_rdma_write_imm.expect(ASKED_FOR);
                write(qp, remote.rkey.0, remote.address, imm.to_be());
            }
            Operation::Read { remote } => {
                ((*qp).wr_rdma_read.expect(ASKED_FOR))(qp, remote.rkey.0, remote.address);
            }
            Operation::CompareSwap {
                remote,
                compare,
                swap,
            } => {
                let swap_if = (*qp).wr_atomic_cmp_swp.expect(ASKED_FOR);
                swap_if(qp, remote.rkey.0, remote.address, compare, swap);
            }
            Operation::FetchAdd { remote, add } => {
                let fetch_add = (*qp).wr_atomic_fetch_add.expect(ASKED_FOR);
                fetch_add(qp, remote.rkey.0, remote.address, add);
            }
            Operation::AtomicWrite { remote, value } => {
                let write = (*qp).wr_atomic_write.expect(ASKED_FOR);
                let value = (&raw const value).cast();
                write(qp, remote.rkey.0, remote.address, value);
            }
            Operation::Flush { remote, length } => {
                let flush = (*qp).wr_flush.expect(ASKED_FOR);
                let placement = sys::IBV_FLUSH_GLOBAL as u8;
                let level = sys::IBV_FLUSH_RANGE as u8;
                flush(qp, remote.rkey.0, remote.address, length, placement, level);
            }
        }
    }
}

/// # Safety
///
/// As for [`post`], which has begun a request.
unsafe fn attach(qp: *mut sys::ibv_qp_ex, payload: &Payload<'_>) {
    const EVERY: &str = "every provider takes a payload";
    // SAFETY: See above.
    unsafe {
        match payload {
            Payload::Sges([sge]) => {
                ((*qp).wr_set_sge.expect(EVERY))(qp, sge.lkey.0, sge.address, sge.length);
            }
            Payload::Sges(list) => {
                let list: Vec<sys::ibv_sge> = list
                    .iter()
                    .map(|sge| sys::ibv_sge {
                        addr: sge.address,
                        length: sge.length,
                        lkey: sge.lkey.0,
                    })
                    .collect();
                ((*qp).wr_set_sge_list.expect(EVERY))(qp, list.len(), list.as_ptr());
            }
            Payload::Inline([piece]) => {
                let set = (*qp).wr_set_inline_data.expect(EVERY);
                set(qp, piece.as_ptr().cast_mut().cast(), piece.len());
            }
            Payload::Inline(pieces) => {
                let list: Vec<sys::ibv_data_buf> = pieces
                    .iter()
                    .map(|piece| sys::ibv_data_buf {
                        addr: piece.as_ptr().cast_mut().cast(),
                        length: piece.len(),
                    })
                    .collect();
                ((*qp).wr_set_inline_data_list.expect(EVERY))(qp, list.len(), list.as_ptr());
            }
        }
    }
}
