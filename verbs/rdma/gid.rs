// SPDX-License-Identifier: GPL-2.0

//! Global identifiers.

use crate::verbs::bindings;

/// A global identifier: for RoCE an IPv6 address, or an IPv4 address mapped into one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    pub(super) fn from_raw(raw: &bindings::ib_gid) -> Self {
        // SAFETY: Both members of the union are 16 bytes of plain data.
        Self(unsafe { raw.raw })
    }

    pub(super) fn into_raw(self) -> bindings::ib_gid {
        bindings::ib_gid { raw: self.0 }
    }
}

/// How packets to a GID are encapsulated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GidType {
    /// InfiniBand, or RoCE v1 directly over Ethernet.
    Ib,
    /// RoCE v2: UDP over IP.
    RoceUdpEncap,
}

impl GidType {
    pub(super) fn from_raw(raw: bindings::ib_gid_type) -> Self {
        match raw {
            bindings::ib_gid_type_IB_GID_TYPE_ROCE_UDP_ENCAP => Self::RoceUdpEncap,
            _ => Self::Ib,
        }
    }
}
