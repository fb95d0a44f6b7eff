// SPDX-License-Identifier: GPL-2.0

//! Memory that is registered without being pinned: its pages are looked up whenever they are accessed.

use kernel::prelude::*;

use crate::verbs::access_error::Stop;
use crate::verbs::memory_key::AccessDenied;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::AddressSpace;
use crate::verbs::rdma::CannotEnter;
use crate::verbs::rdma::PageUse;

/// Addresses of a process, with whatever memory is there at the time.
pub(crate) struct OnDemandMemory {
    space: AddressSpace,
    start: u64,
    length: u64,
    is_writable: bool,
}

impl OnDemandMemory {
    /// `length` bytes at `start` of the calling process; all of its memory if that is `u64::MAX` at zero. Whether there is
    /// any is seen when it is accessed.
    ///
    /// Fails with `EINVAL` when there are no bytes, or they wrap around.
    pub(crate) fn of_caller(start: u64, length: u64, access: AccessFlags) -> Result<Self> {
        if length == 0 || start.checked_add(length).is_none() {
            return Err(EINVAL);
        }
        Ok(Self {
            space: AddressSpace::of_caller()?,
            start,
            length,
            is_writable: may_write(access),
        })
    }

    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Checks whether the memory may be accessed by `access`, given what it was registered with. Fails with `EOPNOTSUPP` if it
    /// is to be pinned, and with `EACCES` if it is to become writable.
    pub(crate) fn check_access(&self, access: AccessFlags) -> Result {
        if !access.contains(Access::OnDemand) {
            return Err(unsupported());
        }
        if may_write(access) && !self.is_writable {
            return Err(EACCES);
        }
        Ok(())
    }

    /// Copies `to.len()` bytes from byte `from` of the memory on, as far as pages are present. Returns how many that were.
    pub(crate) fn read(&self, from: u64, to: &mut [u8]) -> Result<usize, Stop> {
        Ok(self.space.enter()?.read(self.start + from, to))
    }

    /// Copies `from` to byte `to` of the memory and on, as far as pages are present, `ordered` bytes at the end in order.
    /// Returns how many bytes that were.
    pub(crate) fn write(&self, to: u64, from: &[u8], ordered: usize) -> Result<usize, Stop> {
        Ok(self.space.enter()?.write(self.start + to, from, ordered))
    }

    /// Makes the page with byte `at` present, for a moment at least. Sleeps, for as long as the process likes.
    pub(crate) fn fault_in(&self, at: u64, page_use: PageUse) -> Result {
        self.space.fault_in(self.start + at, page_use)
    }
}

impl From<CannotEnter> for Stop {
    fn from(error: CannotEnter) -> Self {
        match error {
            CannotEnter::Ended => AccessDenied.into(),
            CannotEnter::WrongThread => Self::Absent,
        }
    }
}

fn may_write(access: AccessFlags) -> bool {
    access.contains_any(Access::LocalWrite | Access::RemoteWrite | Access::RemoteAtomic)
}
