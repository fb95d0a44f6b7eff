// SPDX-License-Identifier: GPL-2.0

//! Protection domains: what a QP and the memory it may touch have in common.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

use crate::verbs::quota::Place;
use crate::verbs::quota::Quota;
use crate::verbs::rdma::Device;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::PdOps;
use crate::verbs::rdma::UserData;

/// Names a protection domain; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PdId(u64);

impl PdId {
    /// One that there has not been.
    pub(crate) fn unique() -> Self {
        static NEXT: Atomic<u64> = Atomic::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// A protection domain.
pub(crate) struct ProtectionDomain {
    id: PdId,
    _place: Place,
}

impl ProtectionDomain {
    /// Identity of the domain, to be compared.
    pub(crate) fn id(&self) -> PdId {
        self.id
    }
}

/// A device with protection domains.
pub(crate) trait HasProtectionDomains {
    /// Their places.
    fn protection_domains(&self) -> &Arc<Quota>;
}

impl<D: Driver + HasProtectionDomains> PdOps<D> for ProtectionDomain {
    fn create(device: &Device<D>, _user: Option<UserData<'_, D>>) -> impl PinInit<Self, Error> {
        device
            .driver()
            .protection_domains()
            .take()
            .map(|place| Self {
                id: PdId::unique(),
                _place: place,
            })
    }
}
