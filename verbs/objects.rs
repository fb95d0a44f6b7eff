// SPDX-License-Identifier: GPL-2.0

//! The objects of a device that others name by number, and what is counted about them.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::counters::Counters;
use super::mr::RegionTable;
use super::qp::QueuePair;
use super::quota::Quota;
use super::srq::SharedReceiveQueue;
use crate::base::number_table::NumberTable;

// What is told to processes is kept to. The limits are far beyond what programs on hosts with a few cables
// between them use, and small enough for a host with 1 GiB of memory to hold as many objects, so that tests can
// get there.

/// Most QPs at a time.
pub(crate) const MAX_QUEUE_PAIRS: usize = 1 << 12;
/// Most completion queues at a time: two for each QP.
pub(crate) const MAX_COMPLETION_QUEUES: usize = 2 * MAX_QUEUE_PAIRS;
/// Most shared receive queues at a time.
pub(crate) const MAX_SHARED_RECEIVE_QUEUES: usize = 1 << 12;
/// Most protection domains at a time.
pub(crate) const MAX_PROTECTION_DOMAINS: usize = 1 << 12;
/// Most address handles at a time.
pub(crate) const MAX_PATH_HANDLES: usize = 1 << 12;
/// Most memory regions at a time.
pub(crate) const MAX_REGIONS: usize = 1 << 16;

/// Numbers of QPs have 24 bits; 0 and 1 are those of the management QPs (IBTA 3.5.3).
const QP_NUMBERS: core::ops::Range<u32> = 2..1 << 24;
/// Zero means "no number" in the ABI.
const OTHER_NUMBERS: core::ops::Range<u32> = 1..1 << 24;

/// All tables of a device.
#[pin_data]
pub(crate) struct Objects {
    /// Memory regions by key.
    #[pin]
    pub(crate) regions: RegionTable,
    /// QPs by number.
    #[pin]
    pub(crate) queue_pairs: NumberTable<QueuePair>,
    /// Shared receive queues by number.
    #[pin]
    pub(crate) shared_receive_queues: NumberTable<SharedReceiveQueue>,
    /// Places of completion queues.
    pub(crate) completion_queues: Arc<Quota>,
    /// Places of protection domains.
    pub(crate) protection_domains: Arc<Quota>,
    /// Places of address handles.
    pub(crate) path_handles: Arc<Quota>,
    /// What the QPs do.
    pub(crate) counters: Counters,
}

impl Objects {
    /// Empty tables.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init!(Self {
            regions <- RegionTable::new(),
            queue_pairs <- NumberTable::new(QP_NUMBERS, MAX_QUEUE_PAIRS),
            shared_receive_queues <- NumberTable::new(OTHER_NUMBERS, MAX_SHARED_RECEIVE_QUEUES),
            completion_queues: Quota::new(MAX_COMPLETION_QUEUES as u32)?,
            protection_domains: Quota::new(MAX_PROTECTION_DOMAINS as u32)?,
            path_handles: Quota::new(MAX_PATH_HANDLES as u32)?,
            counters: Counters::new(),
        }? Error)
    }
}
