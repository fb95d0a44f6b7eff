// SPDX-License-Identifier: GPL-2.0

//! Scatter/gather elements: `struct rxe_sge`, and the counts in `struct rxe_dma_info`.

use super::bytes::load_u32;
use super::bytes::load_u64;
use super::limits::MAX_INLINE;
use super::limits::MAX_SGE;
use crate::transport::opcode::MAX_MESSAGE;

/// Bytes of one `struct rxe_sge`.
pub const SGE_SIZE: usize = 16;

const _: () = assert!(MAX_INLINE as usize == MAX_SGE as usize * SGE_SIZE);

/// One element: `length` bytes at `address` of the memory region that `lkey` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sge {
    /// Address in the memory region's address space (its IOVA).
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Key of the memory region, unchecked.
    pub lkey: u32,
}

impl Sge {
    /// Decodes one element.
    pub fn decode(bytes: &[u8; SGE_SIZE]) -> Self {
        Self {
            address: load_u64::<0, SGE_SIZE>(bytes),
            length: load_u32::<8, SGE_SIZE>(bytes),
            lkey: load_u32::<12, SGE_SIZE>(bytes),
        }
    }
}

/// Decodes the elements in `bytes`; an incomplete one at the end is left out.
pub fn sges(bytes: &[u8]) -> impl Iterator<Item = Sge> + '_ {
    bytes.chunks_exact(SGE_SIZE).map(|chunk| {
        let mut element = [0; SGE_SIZE];
        element.copy_from_slice(chunk);
        Sge::decode(&element)
    })
}

/// Bytes all elements in `bytes` cover, or `None` if that is more than a message may have.
///
/// The length field of a WQE is not used: it may disagree with the elements.
pub fn total_length(bytes: &[u8]) -> Option<u32> {
    sges(bytes)
        .try_fold(0u32, |sum, sge| sum.checked_add(sge.length))
        .filter(|&sum| sum <= MAX_MESSAGE)
}
