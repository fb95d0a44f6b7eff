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

/// Whose a protection domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A process's.
    Process,
    /// The kernel's, all of whose memory its queue pairs may name.
    Kernel,
}

impl Owner {
    /// Who asks for something: a process has data of its own with each call.
    pub(crate) fn of<D: Driver>(user: Option<&UserData<'_, D>>) -> Self {
        match user {
            Some(_) => Self::Process,
            None => Self::Kernel,
        }
    }
}

/// Names a protection domain; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PdId {
    number: u64,
    owner: Owner,
}

impl PdId {
    /// One that there has not been.
    pub(crate) fn unique(owner: Owner) -> Self {
        static NEXT: Atomic<u64> = Atomic::new(0);
        Self {
            number: NEXT.fetch_add(1, Relaxed),
            owner,
        }
    }

    /// Whose it is.
    pub(crate) fn owner(self) -> Owner {
        self.owner
    }
}

/// A protection domain.
pub(crate) struct ProtectionDomain {
    id: PdId,
    /// The kernel's take none from processes.
    _place: Option<Place>,
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
    fn create(device: &Device<D>, user: Option<UserData<'_, D>>) -> impl PinInit<Self, Error> {
        let owner = Owner::of(user.as_ref());
        let place = match owner {
            Owner::Process => device.driver().protection_domains().take().map(Some),
            Owner::Kernel => Ok(None),
        };
        place.map(|place| Self {
            id: PdId::unique(owner),
            _place: place,
        })
    }
}
