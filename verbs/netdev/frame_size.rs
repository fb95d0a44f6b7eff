// SPDX-License-Identifier: GPL-2.0

//! How long the frames of the interface may be.

use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::packet::ETHERNET_HEADER;

/// Bytes of a VLAN tag in front of the payload.
const VLAN_TAG: usize = 4;

/// What the interface starts with: jumbo frames, as usual for RDMA interfaces.
pub(super) const MTU_DEFAULT: u32 = 9000;

/// The largest MTU: a whole frame still fits one segment of a rail.
pub(super) const MTU_MAX: u32 = 65280;

/// The smallest MTU that IPv4 allows (RFC 791).
pub(super) const MTU_MIN: u32 = 68;

const _: () = assert!(longest_frame(MTU_MAX) <= MAX_PAYLOAD);

/// The longest frame that a network with that MTU is to see, in bytes.
pub(super) const fn longest_frame(mtu: u32) -> usize {
    mtu as usize + ETHERNET_HEADER + VLAN_TAG
}
