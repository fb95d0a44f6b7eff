// SPDX-License-Identifier: GPL-2.0

//! The rights that memory regions and queue pairs may have.

use kernel::prelude::*;

use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

/// Rights that memory of this device can have.
fn of_memory() -> AccessFlags {
    Access::LocalWrite
        | Access::RemoteWrite
        | Access::RemoteRead
        | Access::RemoteAtomic
        | Access::FlushGlobal
        | Access::MwBind
}

/// What is said of the pages of memory that is found on demand. That they are huge ones is not needed to find them.
fn of_pages() -> AccessFlags {
    Access::OnDemand | Access::HugeTlb
}

/// Fails with `EOPNOTSUPP` for rights that a memory region cannot have.
pub(crate) fn check_region(access: AccessFlags) -> Result {
    let supported = if access.contains(Access::OnDemand) {
        of_memory() | of_pages()
    } else {
        of_memory()
    };
    check(access, supported)
}

/// Fails with `EOPNOTSUPP` for rights that a QP cannot grant to its peer.
///
/// It may grant FLUSH to persistence, though no region has that right: programs grant all that they know, and what counts is
/// what a QP and a region both allow. What programs say of the pages of their regions is no right, and is left alone.
pub(crate) fn check_queue_pair(access: AccessFlags) -> Result {
    check(access, of_memory() | of_pages() | Access::FlushPersistent)
}

fn check(access: AccessFlags, supported: AccessFlags) -> Result {
    if supported.contains_all(access) {
        Ok(())
    } else {
        Err(unsupported())
    }
}
