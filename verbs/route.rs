// SPDX-License-Identifier: GPL-2.0

//! The seam between QPs and what carries their frames.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::netdev::MacAddress;
use super::qp::QueuePair;
use crate::page_vec::PageVec;
use crate::stream_adapter::client::Rate;
use crate::transport::farewells::Farewell;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::limits::Limits;
use crate::transport::requester::Rails;

/// Rails, by number, that are worth asking a QP for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RailSet(u16);

impl RailSet {
    /// No rail.
    pub(crate) const NONE: Self = Self(0);
    /// All rails.
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// Adds a rail.
    pub(crate) fn insert(&mut self, rail: RailId) {
        self.0 |= 1 << rail.index();
    }

    /// Takes a rail out.
    pub(crate) fn remove(&mut self, rail: RailId) {
        self.0 &= !(1 << rail.index());
    }

    /// Whether the rail is in the set.
    pub(crate) fn contains(self, rail: RailId) -> bool {
        self.0 & 1 << rail.index() != 0
    }

    /// The rails in both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rails in the order of their numbers.
    pub(crate) fn iter(self) -> impl Iterator<Item = RailId> {
        (0..RailId::COUNT as u8)
            .filter_map(RailId::new)
            .filter(move |&rail| self.contains(rail))
    }
}

/// The way to one host: its rails, or the loop back to this one.
///
/// # Locking
///
/// What says so is called with no lock held, and so are [`Route::schedule`] and [`Route::forget`]. The
/// others are called with the lock of a QP held and must not lock one.
pub(crate) trait Route: Send + Sync {
    /// The QP has frames for some of `rails`: have it asked for them. Sleeps if `urgency` allows it.
    fn schedule(&self, qp: &Arc<QueuePair>, rails: RailSet, urgency: Urgency);

    /// Takes the QP off the list of those that have frames. Called with no lock held.
    fn forget(&self, qp: &Arc<QueuePair>);

    /// Sees to the last acknowledgement of a QP that goes away. Called with no lock held.
    fn farewell(&self, farewell: Farewell);

    /// Waits until nothing of a QP that was reset is on its way, for as long as a rail may take to find out that it is dead.
    /// What comes of an earlier life cannot be told from the new one's if that begins with the same PSNs. Sleeps; called with
    /// no lock held.
    fn outwait(&self, qpn: Qpn);

    /// A QP begins anew: what is left of its farewell, which is of its earlier life, is not sent any more. Called with no
    /// lock held.
    fn withdraw_farewell(&self, qpn: Qpn);

    /// What the host can take; nothing before it has been heard for the first time, and so before any
    /// frame goes there.
    fn limits(&self) -> Option<Limits>;

    /// The rails that are up.
    fn rails_up(&self) -> RailSet;

    /// The rails as the requester's timer sees them.
    fn rails(&self) -> &dyn Rails;
}

/// Whether a frame may be sent in the caller's own context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The caller may sleep and do some of the work itself.
    Inline,
    /// The caller may sleep, but has so much to do that small frames had better be gathered.
    Batched,
    /// Somebody else has to send it.
    Deferred,
    /// It goes out with what follows: the caller has the route flushed when that is enough.
    Gathered,
}

/// State of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Rails that are up, to all peers together.
    pub(crate) rails: u32,
    /// What they carry together.
    pub(crate) rate: Rate,
}

/// Knows the ways to all hosts.
pub(crate) trait Router: Send + Sync {
    /// The way to the host with that address. It may be one that is not reachable yet. Sleeps.
    ///
    /// Fails with `ENOMEM`, or with `ENXIO` when there are too many hosts.
    fn route(&self, host: MacAddress) -> Result<Arc<dyn Route>>;

    /// State of the port.
    fn link(&self) -> Link;
}

/// Where a QP puts the payload of a frame.
pub(crate) trait FrameSink {
    /// Memory of the sink's own, of at least `page_vec::MAX_PAYLOAD` bytes.
    fn staging(&mut self) -> &mut [u8];

    /// An empty list of pages.
    fn pages(&mut self) -> &mut PageVec;

    /// The longest payload that is taken now, at most `page_vec::MAX_PAYLOAD` bytes.
    fn room(&self) -> u32;
}
