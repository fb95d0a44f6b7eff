// SPDX-License-Identifier: GPL-2.0

//! Multicast groups (IBTA 10.5): which QPs of this host are in them.

use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;

use crate::transport::ids::Qpn;
use crate::transport::unreliable_datagram::Gid;
use crate::verbs::limits::MAX_MULTICAST_GROUPS;
use crate::verbs::limits::MAX_MULTICAST_MEMBERS;
use crate::verbs::limits::MAX_QPS_OF_GROUP;

/// A QP in a group.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Member {
    group: Gid,
    qpn: Qpn,
}

/// The groups that QPs of this host are in.
///
/// # Locking
///
/// Nothing is locked inside.
#[pin_data]
pub(crate) struct MulticastGroups {
    /// In no order; with room for all that may be.
    #[pin]
    members: SpinLock<KVVec<Member>>,
}

impl MulticastGroups {
    /// No groups.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let members = KVVec::with_capacity(MAX_MULTICAST_MEMBERS, GFP_KERNEL);
        try_pin_init!(Self {
            members <- new_spinlock!(members?),
        })
    }

    /// Adds a QP to a group; it may be in it.
    ///
    /// Fails with `ENOMEM` when there are too many groups, or QPs in one or all of them.
    pub(crate) fn attach(&self, group: Gid, qpn: Qpn) -> Result {
        let mut members = self.members.lock();
        let member = Member { group, qpn };
        if members.contains(&member) {
            return Ok(());
        }
        let of_group = members.iter().filter(|other| other.group == group).count();
        let is_first = |(at, member): (usize, &Member)| {
            members[..at]
                .iter()
                .all(|earlier| earlier.group != member.group)
        };
        let groups = members.iter().enumerate().filter(|&entry| is_first(entry));
        let fits = match of_group {
            0 => groups.count() < MAX_MULTICAST_GROUPS,
            count => count < MAX_QPS_OF_GROUP,
        };
        if !fits || members.len() == MAX_MULTICAST_MEMBERS {
            return Err(ENOMEM);
        }
        // There is room for all: nothing is allocated.
        members.push(member, GFP_ATOMIC)?;
        Ok(())
    }

    /// Takes a QP out of a group. Fails with `EINVAL` when it is not in it.
    pub(crate) fn detach(&self, group: Gid, qpn: Qpn) -> Result {
        let member = Member { group, qpn };
        let mut members = self.members.lock();
        let at = members
            .iter()
            .position(|&other| other == member)
            .ok_or(EINVAL)?;
        let last = members.pop().ok_or(EINVAL)?;
        if let Some(place) = members.get_mut(at) {
            *place = last;
        }
        Ok(())
    }

    /// Takes a QP out of all groups.
    pub(crate) fn detach_all(&self, qpn: Qpn) {
        self.members.lock().retain(|member| member.qpn != qpn);
    }

    /// The member of a group with the lowest number from `from` on. For walking over all without holding the lock in between.
    pub(crate) fn next_member(&self, group: Gid, from: Qpn) -> Option<Qpn> {
        let members = self.members.lock();
        let numbers = members
            .iter()
            .filter(|member| member.group == group && member.qpn.get() >= from.get())
            .map(|member| member.qpn.get());
        numbers.min().map(Qpn::new)
    }
}
