// SPDX-License-Identifier: GPL-2.0

//! What a process that has opened the device owns.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::verbs::rdma::Device;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MmapOffers;
use crate::verbs::rdma::MmapRequest;
use crate::verbs::rdma::UserContextOps;

/// A process's context: the queues it may map.
pub(crate) struct ProcessContext {
    offers: Arc<MmapOffers>,
}

impl ProcessContext {
    /// The queues that wait for the process to map them.
    pub(crate) fn offers(&self) -> &Arc<MmapOffers> {
        &self.offers
    }
}

impl<D: Driver> UserContextOps<D> for ProcessContext {
    fn create(_device: &Device<D>) -> impl PinInit<Self, Error> {
        Arc::pin_init(MmapOffers::new(), GFP_KERNEL_ACCOUNT).map(|offers| Self { offers })
    }

    fn mmap(&self, request: MmapRequest<'_>) -> Result {
        self.offers.map(request)
    }
}
