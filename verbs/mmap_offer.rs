// SPDX-License-Identifier: GPL-2.0

//! Queues offered to a process for mapping.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::verbs::abi::response::MmapInfo;
use crate::verbs::rdma::MmapBuffer;
use crate::verbs::rdma::MmapOffers;

/// A queue the process may map, once, for as long as this lives.
///
/// Belongs to the object whose queue it is: an offer that was never taken up ends with the object.
pub(crate) struct OfferedQueue {
    offers: Arc<MmapOffers>,
    info: MmapInfo,
}

impl OfferedQueue {
    /// Offers `memory`. Sleeps.
    pub(crate) fn new(offers: &Arc<MmapOffers>, memory: Arc<MmapBuffer>) -> Result<Self> {
        let size = u32::try_from(memory.size())?;
        let offset = offers.offer(memory)?.offset;
        Ok(Self {
            offers: offers.clone(),
            info: MmapInfo::new(offset, size),
        })
    }

    /// What to tell the process.
    pub(crate) fn info(&self) -> MmapInfo {
        self.info
    }
}

impl Drop for OfferedQueue {
    fn drop(&mut self) {
        self.offers.withdraw(self.info.offset);
    }
}
