// SPDX-License-Identifier: GPL-2.0

//! What the objects of a device are found in and counted by.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::workers::Workers;
use crate::verbs::address::PathEntry;
use crate::verbs::address::PathTable;
use crate::verbs::counters::Counters;
use crate::verbs::limits::MAX_COMPLETION_QUEUES;
use crate::verbs::limits::MAX_PROTECTION_DOMAINS;
use crate::verbs::mr::RegionTable;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::pagers::Pagers;
use crate::verbs::qp::QpTable;
use crate::verbs::quota::Quota;
use crate::verbs::srq::SharedReceiveQueue;
use crate::verbs::srq::SrqTable;

/// The tables of a device, its quotas and its counters. They stay when it is registered again.
///
/// Only the device knows all of them; each object holds what it needs itself.
pub(crate) struct Resources {
    /// Memory regions by key.
    pub(crate) regions: Arc<RegionTable>,
    /// What QPs need to wait for pages.
    pub(crate) pagers: Arc<Pagers>,
    /// Threads for what QPs do later.
    pub(crate) workers: Arc<Workers>,
    /// QPs by number.
    pub(crate) queue_pairs: Arc<QpTable>,
    /// Shared receive queues by number.
    pub(crate) shared_receive_queues: Arc<SrqTable>,
    /// Places of completion queues.
    pub(crate) completion_queues: Arc<Quota>,
    /// Places of protection domains.
    pub(crate) protection_domains: Arc<Quota>,
    /// Address handles by number.
    pub(crate) paths: Arc<PathTable>,
    /// The multicast groups.
    pub(crate) multicast_groups: Arc<MulticastGroups>,
    /// Counters of what the QPs do.
    pub(crate) counters: Arc<Counters>,
}

impl Resources {
    /// Those of a device without objects. Whoever delivers frames looks into `queue_pairs`, and into `multicast_groups`.
    pub(crate) fn new(
        queue_pairs: Arc<QpTable>,
        multicast_groups: Arc<MulticastGroups>,
        workers: Arc<Workers>,
    ) -> Result<Arc<Self>> {
        let resources = Self {
            regions: Arc::pin_init(RegionTable::new(), GFP_KERNEL)?,
            pagers: Pagers::new()?,
            workers,
            queue_pairs,
            shared_receive_queues: Arc::pin_init(SharedReceiveQueue::table(), GFP_KERNEL)?,
            completion_queues: Quota::new(MAX_COMPLETION_QUEUES as u32)?,
            protection_domains: Quota::new(MAX_PROTECTION_DOMAINS as u32)?,
            paths: Arc::pin_init(PathEntry::table(), GFP_KERNEL)?,
            multicast_groups,
            counters: Arc::new(Counters::new(), GFP_KERNEL)?,
        };
        Ok(Arc::new(resources, GFP_KERNEL)?)
    }
}
