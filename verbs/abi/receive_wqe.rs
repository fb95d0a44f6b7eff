// SPDX-License-Identifier: GPL-2.0

//! Receive work requests: `struct rxe_recv_wqe`.

use super::bytes::load_u32;
use super::bytes::load_u64;
use super::scatter::SGE_SIZE;

/// Bytes before the elements; what [`ReceiveWqe::decode`] takes.
pub const HEADER_SIZE: usize = 40;

pub(super) const WR_ID: usize = 0;
pub(super) const NUM_SGE: usize = 28;

/// More elements than the queue was made for: the receive completes with `LOC_QP_OP_ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyElements(pub u32);

/// A checked receive work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveWqe {
    /// Elements that follow the header, within the limit.
    pub elements: u32,
}

/// The user's own name for a work request; valid whatever else is wrong with the WQE.
pub fn wr_id(header: &[u8; HEADER_SIZE]) -> u64 {
    load_u64::<WR_ID, HEADER_SIZE>(header)
}

impl ReceiveWqe {
    /// Decodes and checks a copy of a WQE's header.
    pub fn decode(header: &[u8; HEADER_SIZE], max_sge: u32) -> Result<Self, TooManyElements> {
        match load_u32::<NUM_SGE, HEADER_SIZE>(header) {
            elements if elements <= max_sge => Ok(Self { elements }),
            elements => Err(TooManyElements(elements)),
        }
    }

    /// Bytes to copy out of the slot, after the header.
    pub fn payload_size(&self) -> usize {
        self.elements as usize * SGE_SIZE
    }
}
