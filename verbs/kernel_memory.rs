// SPDX-License-Identifier: GPL-2.0

//! The kernel's memory, as its own requests name it.

use crate::base::page_vec::PageVec;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::pd::Owner;
use crate::verbs::rdma::for_each_page;

/// Names all of it (`ib_device.local_dma_lkey`). No region has this key.
pub(crate) const LOCAL_DMA_KEY: Key = Key(0);

/// Whether a request with these needs means the kernel's memory by `key`: only the kernel's own do, and no peer.
pub(crate) fn is_named_by(key: Key, needs: Needs) -> bool {
    key == LOCAL_DMA_KEY && needs.peer_of.is_none() && needs.pd.owner() == Owner::Kernel
}

/// Appends the pages of `len` bytes at `address` of the kernel.
///
/// # Safety
///
/// They must be memory of the kernel, directly mapped or of `vmalloc()`, and stay for as long as the list is used.
pub(crate) unsafe fn fill(
    address: u64,
    len: usize,
    pages: &mut PageVec,
) -> Result<(), AccessDenied> {
    // SAFETY: By the requirements of this function.
    unsafe {
        for_each_page(address, len, |page, offset, part| {
            pages.push(page, offset, part)
        })
    }
    .map_err(|_| AccessDenied)
}
