// SPDX-License-Identifier: GPL-2.0

//! The objects of a device that others name by number, and what is counted about them.

use kernel::prelude::*;

use super::ah::PathHandle;
use super::counters::Counters;
use super::mr::RegionTable;
use super::number_table::NumberTable;
use super::qp::QueuePair;
use super::srq::SharedReceiveQueue;

/// Most QPs at a time.
pub(crate) const MAX_QUEUE_PAIRS: usize = 1 << 14;
/// Most shared receive queues at a time.
pub(crate) const MAX_SHARED_RECEIVE_QUEUES: usize = 1 << 14;
/// Most address handles at a time.
pub(crate) const MAX_PATH_HANDLES: usize = 1 << 15;

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
    /// Address handles by number.
    #[pin]
    pub(crate) path_handles: NumberTable<PathHandle>,
    /// What the QPs do.
    pub(crate) counters: Counters,
}

impl Objects {
    /// Empty tables.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            regions <- RegionTable::new(),
            queue_pairs <- NumberTable::new(QP_NUMBERS, MAX_QUEUE_PAIRS),
            shared_receive_queues <- NumberTable::new(OTHER_NUMBERS, MAX_SHARED_RECEIVE_QUEUES),
            path_handles <- NumberTable::new(OTHER_NUMBERS, MAX_PATH_HANDLES),
            counters: Counters::new(),
        })
    }
}
