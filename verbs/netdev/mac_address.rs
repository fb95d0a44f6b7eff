// SPDX-License-Identifier: GPL-2.0

//! Ethernet addresses.

use core::fmt;

/// Bytes of an Ethernet address.
pub(super) const ETH_ADDRESS: usize = 6;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacAddress(pub [u8; ETH_ADDRESS]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
