// SPDX-License-Identifier: GPL-2.0

//! The name of a router, which hosts are named after.

use super::hello::NodeGuid;

/// What a router is called all over the world, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterUuid(pub [u8; 16]);

impl RouterUuid {
    /// The GUID of a host whose first router this is: half of the UUID, such that UUIDs that differ in one half only
    /// stay different.
    pub fn node_guid(&self) -> NodeGuid {
        let uuid = u128::from_be_bytes(self.0);
        let guid = (uuid >> 64) as u64 ^ uuid as u64;
        // Zero is no GUID.
        NodeGuid(guid.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_never_zero() {
        assert_eq!(RouterUuid([1; 16]).node_guid(), NodeGuid(1));
        let other = RouterUuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_ne!(other.node_guid(), NodeGuid(0));
    }
}
