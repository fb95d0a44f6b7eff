// SPDX-License-Identifier: GPL-2.0

//! Who a peer says it is, and what speaks against it.
//!
//! A host has the GUID and the address that follow from the UUID of its first router. The thunderbolt core knows the
//! UUID of the router at the other end of a cable from the routers' own protocol, so over the first controller of a
//! host its name can be checked. Over another controller of its it cannot: then only contradictions are found.

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
    /// It is not known what the cable leads to.
    Unknown,
}

impl Trust {
    /// Whether a rail that comes up may say what its host can take. Others to the host may be up already: then only who is
    /// vouched for may say anything `other` than them.
    pub fn may_tell(self, other: Agreement) -> bool {
        match other {
            Agreement::First | Agreement::Same => true,
            Agreement::Different => self == Self::Vouched,
        }
    }
}

/// What a rail says of its host, beside the other rails to it that are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// No other rail to it is up.
    First,
    /// The same as the others.
    Same,
    /// Something else than the others.
    Different,
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
            return Ok(Trust::Vouched);
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
    fn only_who_is_vouched_for_says_other_things_than_the_other_rails() {
        for trust in [Trust::Vouched, Trust::Unvouched, Trust::Unknown] {
            assert!(trust.may_tell(Agreement::First));
            assert!(trust.may_tell(Agreement::Same));
            let is_vouched = trust == Trust::Vouched;
            assert_eq!(trust.may_tell(Agreement::Different), is_vouched);
        }
    }

    #[test]
    fn nothing_is_known_of_a_cable_without_a_name() {
        let own = claim(OTHER.node_guid(), Some(OTHER));
        let nameless = claim(OTHER.node_guid(), None);
        assert_eq!(nameless.check([&own]), Ok(Trust::Unknown));
    }
}
