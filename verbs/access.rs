// SPDX-License-Identifier: GPL-2.0

//! The rights that memory regions and queue pairs may have.

use kernel::prelude::*;

use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

/// Fails with `EOPNOTSUPP` for rights that this device does not have.
pub(crate) fn check_supported(access: AccessFlags) -> Result {
    let supported = Access::LocalWrite
        | Access::RemoteWrite
        | Access::RemoteRead
        | Access::RemoteAtomic
        | Access::FlushGlobal;
    if supported.contains_all(access) {
        Ok(())
    } else {
        Err(unsupported())
    }
}
