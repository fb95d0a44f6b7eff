// SPDX-License-Identifier: GPL-2.0

//! What a process that has opened the device owns.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::device::RoceDevice;
use super::rdma::Device;
use super::rdma::MmapOffers;
use super::rdma::MmapRequest;
use super::rdma::UserContextOps;

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

impl UserContextOps<RoceDevice> for ProcessContext {
    fn create(_device: &Device<RoceDevice>) -> impl PinInit<Self, Error> {
        Arc::pin_init(MmapOffers::new(), GFP_KERNEL_ACCOUNT).map(|offers| Self { offers })
    }

    fn mmap(&self, request: MmapRequest<'_>) -> Result {
        self.offers.map(request)
    }

    fn destroy(&self) {}
}
