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

/// Fails with `EOPNOTSUPP` for rights that memory cannot have which is registered by a work request: no windows are bound to
/// it. As for other regions, those who write to it from afar need its owner to be able to (`EINVAL`, IBTA 10.6.3.1).
pub(crate) fn check_registration(access: AccessFlags) -> Result {
    check(
        access,
        Access::LocalWrite | Access::RemoteWrite | Access::RemoteRead | Access::RemoteAtomic,
    )?;
    check_writes(access)
}

/// Fails with `EINVAL` for remote write without local write (IBTA 10.6.3.1).
pub(crate) fn check_writes(access: AccessFlags) -> Result {
    if access.contains_any(Access::RemoteWrite | Access::RemoteAtomic)
        && !access.contains(Access::LocalWrite)
    {
        return Err(EINVAL);
    }
    Ok(())
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
