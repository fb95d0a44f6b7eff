// SPDX-License-Identifier: GPL-2.0

//! Who a peer says it is, and what speaks against it.
//!
//! A host has the GUID and the address that follow from the UUID of its first router. The thunderbolt core knows the
//! UUID of the router at the other end of a cable from the routers' own protocol, so over the first controller of a
//! host its name can be checked. Over another controller of its it cannot: then only contradictions are found.
//!
//! It is software that answers for a router: the other host's kernel. So this finds what is cabled or configured wrongly, and
//! keeps programs from speaking for others; a host whose kernel lies can take any name.

use crate::transport::rail::hello::NodeGuid;
use crate::transport::rail::router_uuid::RouterUuid;

/// What is said over a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The host, as it says.
    pub guid: NodeGuid,
    /// The router at the other end of the cable, if it is known.
    pub router: Option<RouterUuid>,
}

/// How far a claim can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is the name of the router at the other end of the cable.
    Vouched,
    /// It is another name: that of another controller of the same host, if it is true.
    Unvouched,
    /// It is the name of the router at the other end of the cable, and of another router as well: one of them makes it up.
    Contested,
    /// It is not known what the cable leads to.
    Unknown,
}

/// The same router calls itself by two names, over two rails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What it is called over another rail.
    pub other: NodeGuid,
}

impl Claim {
    /// How far the claim can be trusted beside those of the `other` rails that are up.
    ///
    /// # Errors
    ///
    /// If one of these contradicts it.
    pub fn check<'a>(
        &self,
        others: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Trust, Contradiction> {
        let Some(router) = &self.router else {
            return Ok(Trust::Unknown);
        };
        if router.node_guid() == self.guid {
            let contests = |other: &Self| {
                let named_so =
                    |other: &RouterUuid| other != router && other.node_guid() == self.guid;
                other.router.as_ref().is_some_and(named_so)
            };
            return Ok(if others.into_iter().any(contests) {
                Trust::Contested
            } else {
                Trust::Vouched
            });
        }
        let contradicts = |other: &Self| other.router == self.router && other.guid != self.guid;
        match others.into_iter().find(|other| contradicts(other)) {
            Some(other) => Err(Contradiction { other: other.guid }),
            None => Ok(Trust::Unvouched),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: RouterUuid = RouterUuid([1; 16]);
    const OTHER: RouterUuid = RouterUuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

    fn claim(guid: NodeGuid, router: Option<RouterUuid>) -> Claim {
        Claim { guid, router }
    }

    #[test]
    fn a_host_is_vouched_for_by_its_own_router() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        assert_eq!(own.check([]), Ok(Trust::Vouched));
    }

    #[test]
    fn another_controller_of_a_host_is_believed() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        let second = claim(OTHER.node_guid(), Some(FIRST));
        assert_eq!(second.check([&own]), Ok(Trust::Unvouched));
    }

    #[test]
    fn a_router_has_one_name() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        let lie = claim(NodeGuid(77), Some(OTHER));
        let other = OTHER.node_guid();
        assert_eq!(lie.check([&own]), Err(Contradiction { other }));
        // The true name is not kept out by the false one.
        assert_eq!(own.check([&lie]), Ok(Trust::Vouched));
    }

    #[test]
    fn two_routers_of_one_name_are_noticed() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        // The same halves, changed by the same bits.
        let mut made_up = OTHER;
        made_up.0[3] ^= 1;
        made_up.0[11] ^= 1;
        let other = claim(made_up.node_guid(), Some(made_up));
        assert_eq!(own.guid, other.guid);
        assert_eq!(other.check([&own]), Ok(Trust::Contested));
        assert_eq!(own.check([&own]), Ok(Trust::Vouched));
    }

    #[test]
    fn nothing_is_known_of_a_cable_without_a_name() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        let nameless = claim(OTHER.node_guid(), None);
        assert_eq!(nameless.check([&own]), Ok(Trust::Unknown));
    }
}
