// SPDX-License-Identifier: GPL-2.0

//! Which route a QP has, and with it, in whose list of QPs that have frames it may be.

use core::marker::PhantomData;
use core::ops::Deref;

use crate::transport::share::Cause;
use crate::transport::share::Share;

/// Which list: those that exist at the same time differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterId(usize);

impl RosterId {
    /// That of the list which lives where `owner` does.
    pub fn of<T>(owner: &T) -> Self {
        Self(core::ptr::from_ref(owner).addr())
    }
}

/// A member whose slot is locked, and names the list that is given this: the member is in no other list, and gets
/// into none as long as this exists.
pub struct Attached<'a, M> {
    member: &'a M,
    slot: PhantomData<&'a mut ()>,
}

impl<M> Attached<'_, M> {
    /// The member.
    pub fn member(&self) -> &M {
        self.member
    }
}

/// A list of members that have something to send.
///
/// # Locking
///
/// All calls are made with a member's slot locked, and lock the list inside.
pub trait Roster {
    /// Who may be in the list.
    type Member;
    /// What a member has to send.
    type Work;
    /// What is to be done about it when the slot is not locked any more.
    type Errand;

    /// Identity of the list.
    fn id(&self) -> RosterId;

    /// What a member has under way has changed from `old`, which the list knows of.
    fn note_share(&self, old: Share, new: Share, cause: Cause);

    /// Puts a member into the list, unless it is in.
    fn enqueue(&self, member: &Attached<'_, Self::Member>, work: Self::Work) -> Self::Errand;

    /// Takes a member out of the list, if it is in. The caller keeps it alive.
    fn dequeue(&self, member: &Attached<'_, Self::Member>);
}

/// The route of one member, held by `H`.
///
/// # Locking
///
/// The slot belongs to what the member's lock protects. Whoever has taken the member off a list looks, with the slot
/// locked, whether that list is still the one: the member may have got another route meanwhile.
///
/// # Invariants
///
/// The member is in the list of this route, or in none. `share` is what the route knows of what the member has under way.
pub struct RouteSlot<H> {
    route: Option<H>,
    share: Share,
}

impl<H> RouteSlot<H> {
    /// No route.
    pub const fn new() -> Self {
        Self {
            route: None,
            share: Share::NONE,
        }
    }
}

impl<H> Default for RouteSlot<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H, R> RouteSlot<H>
where
    H: Deref<Target = R>,
    R: Roster + ?Sized,
{
    /// The route.
    pub fn get(&self) -> Option<&H> {
        self.route.as_ref()
    }

    /// Whether the route is the one with that list.
    pub fn is(&self, id: RosterId) -> bool {
        self.route.as_ref().is_some_and(|route| route.id() == id)
    }

    /// Tells the route what the member has under way, and why that may have changed.
    pub fn note_share(&mut self, share: Share, cause: Cause) {
        if let Some(route) = self.route.as_deref().filter(|_| self.share != share) {
            route.note_share(self.share, share, cause);
            self.share = share;
        }
    }

    /// Puts `member`, which this is the slot of, into its route's list. Nothing happens without a route.
    pub fn enqueue(&mut self, member: &R::Member, work: R::Work) -> Option<R::Errand> {
        let route = self.route.as_deref()?;
        Some(route.enqueue(&Self::attached(member), work))
    }

    /// Gives `member`, which this is the slot of, another route, or none, and takes it off the list of the one it
    /// had, which knows of nothing under way then and is returned: it may be the last reference, so let go of it with nothing locked.
    pub fn replace(&mut self, member: &R::Member, route: Option<H>) -> Option<H> {
        self.note_share(Share::NONE, Cause::Other);
        if let Some(old) = self.route.as_deref() {
            old.dequeue(&Self::attached(member));
        }
        core::mem::replace(&mut self.route, route)
    }

    fn attached(member: &R::Member) -> Attached<'_, R::Member> {
        Attached {
            member,
            slot: PhantomData,
        }
    }
}
