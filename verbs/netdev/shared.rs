// SPDX-License-Identifier: GPL-2.0

//! What the interface and the callbacks of the network stack share.

use kernel::sync::atomic::Atomic;

use super::net_peers::NetPeers;

/// What the C callbacks find through `netdev_priv()`.
pub(super) struct Shared {
    pub(super) net_peers: NetPeers,
    /// What all rails carry together, in Mb/s.
    pub(super) rate: Atomic<u32>,
}
