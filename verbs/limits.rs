// SPDX-License-Identifier: GPL-2.0

//! How many objects of each kind a device may have.
//!
//! What is told to processes is kept to. The limits are far beyond what programs on hosts with a few cables
//! between them use, and small enough for a host with 1 GiB of memory to hold as many objects, so that tests can
//! get there.

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
/// Most multicast groups that QPs are in.
pub(crate) const MAX_MULTICAST_GROUPS: usize = 256;
/// Most QPs in one of them.
pub(crate) const MAX_QPS_OF_GROUP: usize = 64;
/// Most QPs in all of them together, counted once for each.
pub(crate) const MAX_MULTICAST_MEMBERS: usize = 1024;
/// Most memory regions at a time.
pub(crate) const MAX_REGIONS: usize = 1 << 16;
