// SPDX-License-Identifier: GPL-2.0

//! How long the frames of the interface may be.

/// Bytes of an Ethernet header.
pub(super) const ETH_HEADER: usize = 14;

/// Bytes of a VLAN tag in front of the payload.
pub(super) const VLAN_TAG: usize = 4;

/// What the interface starts with: jumbo frames, as usual for RDMA interfaces.
pub(super) const MTU_DEFAULT: u32 = 9000;

/// The largest MTU: a whole frame still fits one segment of a rail.
pub(super) const MTU_MAX: u32 = 65280;

/// The smallest MTU that IPv4 allows (RFC 791).
pub(super) const MTU_MIN: u32 = 68;

/// The longest frame that [`Netdev::take_tx`](super::Netdev::take_tx) hands out, in bytes.
pub const MAX_FRAME: usize = MTU_MAX as usize + ETH_HEADER + VLAN_TAG;

const _: () = assert!(MAX_FRAME <= crate::base::page_vec::MAX_PAYLOAD);
