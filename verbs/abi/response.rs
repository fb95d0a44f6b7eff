// SPDX-License-Identifier: GPL-2.0

//! The driver's part of command responses: where a queue can be mapped, and object numbers.

use super::bytes::load_u64;
use super::bytes::store;

/// Bytes of `struct mminfo`, which is all that the responses to creating and resizing a CQ have.
pub const MMAP_INFO_SIZE: usize = 16;
/// Bytes of `struct rxe_create_qp_resp`.
pub const QP_RESPONSE_SIZE: usize = 2 * MMAP_INFO_SIZE;
/// Bytes of `struct rxe_create_srq_resp`.
pub const SRQ_RESPONSE_SIZE: usize = MMAP_INFO_SIZE + 8;
/// Bytes of `struct rxe_create_ah_resp`.
pub const AH_RESPONSE_SIZE: usize = 8;
/// Bytes of `struct rxe_modify_srq_cmd`.
pub const MODIFY_SRQ_COMMAND_SIZE: usize = 8;

/// `struct mminfo`: what the process passes to mmap(2) to see a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapInfo {
    /// File offset.
    pub offset: u64,
    /// Bytes.
    pub size: u32,
}

impl MmapInfo {
    /// Stands for "no such queue".
    pub const NONE: Self = Self { offset: 0, size: 0 };

    /// The structure's bytes.
    pub fn encode(&self) -> [u8; MMAP_INFO_SIZE] {
        let mut bytes = [0; MMAP_INFO_SIZE];
        store::<0, 8, MMAP_INFO_SIZE>(&mut bytes, self.offset.to_ne_bytes());
        store::<8, 4, MMAP_INFO_SIZE>(&mut bytes, self.size.to_ne_bytes());
        bytes
    }
}

/// `struct rxe_create_qp_resp`; a QP with a shared receive queue has no `receive`.
pub fn encode_qp(receive: MmapInfo, send: MmapInfo) -> [u8; QP_RESPONSE_SIZE] {
    let mut bytes = [0; QP_RESPONSE_SIZE];
    store::<0, MMAP_INFO_SIZE, QP_RESPONSE_SIZE>(&mut bytes, receive.encode());
    store::<MMAP_INFO_SIZE, MMAP_INFO_SIZE, QP_RESPONSE_SIZE>(&mut bytes, send.encode());
    bytes
}

/// `struct rxe_create_srq_resp`.
pub fn encode_srq(queue: MmapInfo, srq_num: u32) -> [u8; SRQ_RESPONSE_SIZE] {
    let mut bytes = [0; SRQ_RESPONSE_SIZE];
    store::<0, MMAP_INFO_SIZE, SRQ_RESPONSE_SIZE>(&mut bytes, queue.encode());
    store::<MMAP_INFO_SIZE, 4, SRQ_RESPONSE_SIZE>(&mut bytes, srq_num.to_ne_bytes());
    bytes
}

/// `struct rxe_create_ah_resp`; `ah_num` must not be zero (zero means "pass an inline AV").
pub fn encode_ah(ah_num: core::num::NonZeroU32) -> [u8; AH_RESPONSE_SIZE] {
    let mut bytes = [0; AH_RESPONSE_SIZE];
    store::<0, 4, AH_RESPONSE_SIZE>(&mut bytes, ah_num.get().to_ne_bytes());
    bytes
}

/// `struct rxe_modify_srq_cmd`: the user address the new queue's [`MmapInfo`] is written to.
pub fn decode_modify_srq(command: &[u8; MODIFY_SRQ_COMMAND_SIZE]) -> u64 {
    load_u64::<0, MODIFY_SRQ_COMMAND_SIZE>(command)
}
