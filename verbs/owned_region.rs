// SPDX-License-Identifier: GPL-2.0

//! Memory regions as their owners have them: processes, and users in the kernel.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::revocable::CountedRevocable;
use crate::verbs::fast_region::FastRegion;
use crate::verbs::fast_region::MAX_PAGES;
use crate::verbs::kernel_memory::LOCAL_DMA_KEY;
use crate::verbs::mr::HasRegions;
use crate::verbs::mr::Key;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::RegisteredRegion;
use crate::verbs::pd::Owner;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MrChange;
use crate::verbs::rdma::MrKeys;
use crate::verbs::rdma::MrOps;
use crate::verbs::rdma::MrRequest;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::UserData;

/// A memory region.
pub(crate) enum OwnedRegion {
    /// Memory of a process.
    Process(Pin<KBox<RegisteredRegion>>),
    /// Memory of the kernel, registered by work requests.
    Fast {
        table: Arc<RegionTable>,
        region: Arc<CountedRevocable<FastRegion>>,
    },
    /// All of the kernel's memory, for its own requests.
    AllOfKernel,
}

/// Fails for domains of processes.
fn check_owner(pd: &ProtectionDomain) -> Result {
    match pd.id().owner() {
        Owner::Kernel => Ok(()),
        Owner::Process => Err(EINVAL),
    }
}

impl OwnedRegion {
    fn fast<D>(pd: &Pd<D>, max_pages: u32) -> Result<Self>
    where
        D: Driver<Pd = ProtectionDomain> + HasRegions,
    {
        check_owner(pd)?;
        if !(1..=MAX_PAGES).contains(&max_pages) {
            return Err(EINVAL);
        }
        let table = pd.device().driver().regions();
        Ok(Self::Fast {
            region: table.allocate_fast_region(pd.id(), max_pages)?,
            table: table.clone(),
        })
    }

    /// The region, if it is one that is registered by work requests.
    fn as_fast(&self) -> Result<&FastRegion> {
        match self {
            Self::Fast { region, .. } => Ok(region),
            Self::Process(_) | Self::AllOfKernel => Err(EINVAL),
        }
    }
}

#[vtable]
impl<D> MrOps<D> for OwnedRegion
where
    D: Driver<Pd = ProtectionDomain> + HasRegions,
{
    fn register(
        pd: &Pd<D>,
        request: MrRequest,
        _user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        KBox::pin_init(RegisteredRegion::new(pd, request), GFP_KERNEL_ACCOUNT).map(Self::Process)
    }

    fn allocate(pd: &Pd<D>, max_pages: u32) -> impl PinInit<Self, Error> {
        Self::fast(pd, max_pages)
    }

    fn of_kernel(pd: &Pd<D>, access: AccessFlags) -> impl PinInit<Self, Error> {
        // No peer gets all of it.
        if !AccessFlags::from(Access::LocalWrite).contains_all(access) {
            return Err(unsupported());
        }
        check_owner(pd).map(|()| Self::AllOfKernel)
    }

    fn begin_pages(&self) -> Result {
        self.as_fast()?.begin_pages();
        Ok(())
    }

    unsafe fn add_page(&self, page: NonNull<bindings::page>) -> Result {
        // SAFETY: By the requirements of this function.
        unsafe { self.as_fast()?.add_page(page) }
    }

    fn keys(&self) -> MrKeys {
        let Key(key) = match self {
            Self::Process(region) => region.key(),
            Self::Fast { region, .. } => region.key(),
            Self::AllOfKernel => LOCAL_DMA_KEY,
        };
        MrKeys {
            lkey: key,
            rkey: key,
        }
    }

    fn change(&self, change: MrChange<'_, D>) -> Result {
        match self {
            Self::Process(region) => region.change(change.access, change.pd.map(|pd| pd.id())),
            Self::Fast { .. } | Self::AllOfKernel => Err(EINVAL),
        }
    }

    fn deregister(&self) -> Result {
        match self {
            Self::Process(region) => region.deregister(),
            Self::Fast { table, region } => {
                table.free_fast_region(region);
                Ok(())
            }
            Self::AllOfKernel => Ok(()),
        }
    }
}
