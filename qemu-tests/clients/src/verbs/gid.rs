// SPDX-License-Identifier: GPL-2.0

//! GIDs and the choice of one for a connection.

use std::fmt;
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde::Serialize;

use super::GidIndex;

/// A global identifier: on RoCE, an IPv6 or IPv4-mapped address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gid(pub [u8; 16]);

/// What kind of address a [`Gid`] is. Ordered by preference for a connection, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GidKind {
    /// An IPv4 address: what users of RoCE v2 configure.
    Ipv4Mapped,
    /// fe80::/10: there without any configuration.
    LinkLocal,
    /// Any other IPv6 address.
    Ipv6,
}

/// The encapsulation that a GID table entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoceVersion {
    /// Ethernet framing.
    V1,
    /// UDP port 4791.
    V2,
    /// Not RoCE, or a kind this program does not know.
    Other,
}

/// A used entry of a port's GID table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GidEntry {
    /// Its place in the table.
    pub index: GidIndex,
    /// The address.
    pub gid: Gid,
    /// The encapsulation.
    pub version: RoceVersion,
}

impl Gid {
    /// Classifies the address.
    pub fn kind(self) -> GidKind {
        let address = Ipv6Addr::from(self.0);
        if address.to_ipv4_mapped().is_some() {
            GidKind::Ipv4Mapped
        } else if address.is_unicast_link_local() {
            GidKind::LinkLocal
        } else {
            GidKind::Ipv6
        }
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.0).fmt(f)
    }
}

/// Picks from two peers' candidates a pair of the same kind, the best kind first, the lowest
/// indices within it. Both peers come to the same pair whichever of them computes it.
pub fn choose_common(ours: &[Gid], theirs: &[Gid]) -> Option<(Gid, Gid)> {
    let mut kinds: Vec<GidKind> = ours.iter().map(|gid| gid.kind()).collect();
    kinds.sort_unstable();
    kinds.into_iter().find_map(|kind| {
        let pick = |gids: &[Gid]| gids.iter().copied().find(|gid| gid.kind() == kind);
        Some((pick(ours)?, pick(theirs)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gid(text: &str) -> Gid {
        Gid(text.parse::<Ipv6Addr>().expect("a test address").octets())
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(gid("::ffff:10.9.0.1").kind(), GidKind::Ipv4Mapped);
        assert_eq!(gid("fe80::1").kind(), GidKind::LinkLocal);
        assert_eq!(gid("fd00::1").kind(), GidKind::Ipv6);
    }

    #[test]
    fn ipv4_wins_over_link_local_when_both_have_it() {
        let ours = [gid("fe80::1"), gid("::ffff:10.0.0.1")];
        let theirs = [gid("::ffff:10.0.0.2"), gid("fe80::2")];
        assert_eq!(
            choose_common(&ours, &theirs),
            Some((gid("::ffff:10.0.0.1"), gid("::ffff:10.0.0.2")))
        );
    }

    #[test]
    fn link_local_serves_when_only_one_side_has_ipv4() {
        let ours = [gid("fe80::1"), gid("::ffff:10.0.0.1")];
        let theirs = [gid("fe80::2")];
        assert_eq!(
            choose_common(&ours, &theirs),
            Some((gid("fe80::1"), gid("fe80::2")))
        );
    }

    #[test]
    fn the_choice_is_the_same_from_both_ends() {
        let ours = [gid("fd00::1"), gid("fe80::1"), gid("fe80::11")];
        let theirs = [gid("fe80::2"), gid("fd00::2"), gid("fe80::22")];
        let (a, b) = choose_common(&ours, &theirs).expect("a common kind");
        assert_eq!(choose_common(&theirs, &ours), Some((b, a)));
    }

    #[test]
    fn nothing_in_common_is_no_choice() {
        assert_eq!(
            choose_common(&[gid("::ffff:10.0.0.1")], &[gid("fe80::2")]),
            None
        );
    }
}
