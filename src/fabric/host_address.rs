// SPDX-License-Identifier: GPL-2.0

//! The Ethernet address of a host, which follows from its GUID.

use crate::base::checksum::KernelHash;
use crate::transport::checksum::Checksum;
use crate::transport::rail::hello::NodeGuid;
use crate::verbs::netdev::MacAddress;

/// First byte of an Ethernet address that is unicast and locally administered (IEEE 802).
const MAC_LOCAL: u8 = 0x02;

/// The Ethernet address of the host with that GUID.
pub(crate) fn address_of(guid: NodeGuid) -> MacAddress {
    let guid = guid.0.to_le_bytes();
    let [a, b, c, d, e, ..] = KernelHash::xxh64(0, &guid).to_be_bytes();
    MacAddress([MAC_LOCAL, a, b, c, d, e])
}
