// SPDX-License-Identifier: GPL-2.0

//! Protection domains: what a QP and the memory it may touch have in common.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;

use super::device::RoceDevice;
use super::quota::Place;
use super::rdma::Device;
use super::rdma::PdOps;
use super::rdma::UserData;

/// Names a protection domain; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PdId(u64);

/// A protection domain.
pub(crate) struct ProtectionDomain {
    id: PdId,
    _place: Place,
}

impl ProtectionDomain {
    /// Its name.
    pub(crate) fn id(&self) -> PdId {
        self.id
    }
}

impl PdOps<RoceDevice> for ProtectionDomain {
    fn create(
        device: &Device<RoceDevice>,
        _user: Option<UserData<'_, RoceDevice>>,
    ) -> impl PinInit<Self, Error> {
        static NEXT: Atomic<u64> = Atomic::new(0);
        device
            .objects()
            .protection_domains
            .take()
            .map(|place| Self {
                id: PdId(NEXT.fetch_add(1, Relaxed)),
                _place: place,
            })
    }

    fn destroy(&self) {}
}
