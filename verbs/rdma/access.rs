// SPDX-License-Identifier: GPL-2.0

//! Access rights to memory (IBTA 10.6.3 Memory access control).

use super::error::unsupported;
use crate::verbs::bindings;
use kernel::{
    impl_flags,
    prelude::*, //
};

impl_flags!(
    /// Who may do what to a memory region, or through a queue pair.
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct AccessFlags(u32);

    /// One right.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Access {
        /// The device may write on behalf of a local work request.
        LocalWrite = bindings::ib_access_flags_IB_ACCESS_LOCAL_WRITE,
        /// A remote peer may write.
        RemoteWrite = bindings::ib_access_flags_IB_ACCESS_REMOTE_WRITE,
        /// A remote peer may read.
        RemoteRead = bindings::ib_access_flags_IB_ACCESS_REMOTE_READ,
        /// A remote peer may execute atomic operations.
        RemoteAtomic = bindings::ib_access_flags_IB_ACCESS_REMOTE_ATOMIC,
        /// Memory windows may be bound to the region.
        MwBind = bindings::ib_access_flags_IB_ACCESS_MW_BIND,
        /// Addresses start at zero.
        ZeroBased = bindings::ib_access_flags_IB_ZERO_BASED,
        /// Pages are faulted in by the device.
        OnDemand = bindings::ib_access_flags_IB_ACCESS_ON_DEMAND,
        /// The region is made of huge pages.
        HugeTlb = bindings::ib_access_flags_IB_ACCESS_HUGETLB,
        /// A remote peer may flush to global visibility.
        FlushGlobal = bindings::ib_access_flags_IB_ACCESS_FLUSH_GLOBAL,
        /// A remote peer may flush to persistence.
        FlushPersistent = bindings::ib_access_flags_IB_ACCESS_FLUSH_PERSISTENT,
    }
);

impl AccessFlags {
    /// The rights in `raw`. Optional ones (`IB_ACCESS_OPTIONAL`) are hints and are left out.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` when a right is asked for that is neither known nor optional.
    pub fn from_raw(raw: kernel::ffi::c_int) -> Result<Self> {
        let raw = u32::from_ne_bytes(raw.to_ne_bytes());
        let required = raw & !bindings::ib_access_flags_IB_ACCESS_OPTIONAL;

        if required & !Self::all_bits() != 0 {
            return Err(unsupported());
        }
        Ok(Self(required))
    }

    pub(super) fn into_raw(self) -> kernel::ffi::c_int {
        kernel::ffi::c_int::from_ne_bytes(u32::from(self).to_ne_bytes())
    }
}
