// SPDX-License-Identifier: GPL-2.0

//! Memory windows as processes allocate them.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::revocable::CountedRevocable;
use crate::verbs::mr::HasRegions;
use crate::verbs::mr::RegionTable;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MwOps;
use crate::verbs::rdma::MwType;
use crate::verbs::rdma::Pd;
use crate::verbs::window::Window;

/// A window as its process sees it.
pub(crate) struct UserWindow {
    table: Arc<RegionTable>,
    window: Arc<CountedRevocable<Window>>,
}

impl UserWindow {
    fn build<D>(pd: &Pd<D>, mw_type: MwType) -> Result<Self>
    where
        D: Driver<Pd = ProtectionDomain> + HasRegions,
    {
        let table = pd.device().driver().regions();
        Ok(Self {
            window: table.allocate_window(pd.id(), mw_type)?,
            table: table.clone(),
        })
    }
}

impl<D> MwOps<D> for UserWindow
where
    D: Driver<Pd = ProtectionDomain> + HasRegions,
{
    fn allocate(pd: &Pd<D>, mw_type: MwType) -> impl PinInit<Self, Error> {
        Self::build(pd, mw_type)
    }

    fn rkey(&self) -> u32 {
        self.window.key().0
    }

    fn deallocate(&self) {
        self.table.deallocate_window(&self.window);
    }
}
