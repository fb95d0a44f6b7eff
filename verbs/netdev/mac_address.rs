// SPDX-License-Identifier: GPL-2.0

//! Ethernet addresses.

/// Bytes of an Ethernet address.
pub(super) const ETH_ADDRESS: usize = 6;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacAddress(pub [u8; ETH_ADDRESS]);
