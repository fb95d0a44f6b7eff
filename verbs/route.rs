// SPDX-License-Identifier: GPL-2.0

//! The seam between QPs and what carries their frames.

use core::ops::Deref;

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::event::Event;
use crate::base::page_vec::PageVec;
use crate::stream_adapter::client::RailLink;
use crate::stream_adapter::client::Rate;
use crate::transport::final_acks::FinalAck;
use crate::transport::ids::Qpn;
use crate::transport::limits::Limits;
use crate::transport::rail::hello::Features;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::Rails;
use crate::verbs::netdev::MacAddress;
use crate::verbs::route_slot::Roster;

/// What a QP has to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// The rails that are worth asking it for a frame.
    pub(crate) rails: RailSet,
    /// Who is to send the frames.
    pub(crate) hint: TxHint,
}

/// What is to be done when a QP has got into the list of its route, with no lock held.
#[must_use = "else nobody may know of the work"]
pub(crate) enum Errand {
    /// Nothing: somebody knows of it, or asks for it soon.
    Nothing,
    /// A rail is to be woken.
    Wake(Arc<Event>),
    /// A rail is idle: the caller may do its work.
    Push(Arc<dyn RailLink>),
    /// The route is to be told by [`Route::carry`].
    Carry(TxHint),
}

/// The way to one host: its rails, or the loop back to this one, with the list of the QPs, its members, that have
/// frames for it.
///
/// # Locking
///
/// What says so is called with no lock held. The others may be called with the lock of a QP held and must not lock
/// one.
pub(crate) trait Route: Roster<Work = Work, Errand = Errand> + Send + Sync {
    /// Has what is in the list carried, after [`Errand::Carry`]. Sleeps if `hint` allows it. Called with no lock
    /// held.
    fn carry(&self, hint: TxHint);

    /// Sees to the last acknowledgement of a QP that goes away. Called with no lock held.
    fn final_ack(&self, final_ack: FinalAck);

    /// Waits until nothing of a QP that was reset is on its way, for as long as a rail may take to find out that it is dead.
    /// What comes of an earlier life cannot be told from the new one's if that begins with the same PSNs. Sleeps; called with
    /// no lock held.
    fn outwait(&self, qpn: Qpn);

    /// A QP begins anew: what is left of the last acknowledgement of its earlier life is not sent any more. Called with no
    /// lock held.
    fn withdraw_final_ack(&self, qpn: Qpn);

    /// What the host can take; nothing before it has been heard for the first time, and so before any
    /// frame goes there.
    fn limits(&self) -> Option<Limits>;

    /// What the host offers beyond the plain protocol; nothing as long as its limits are not known.
    fn features(&self) -> Option<Features>;

    /// Says in the log, but not too often, that the host does not know of `what`, which a request needed. May be called with a QP
    /// locked.
    fn log_unable(&self, what: &str);

    /// The rails as the protocol sees them.
    fn rails(&self) -> &dyn Rails;

    /// Called when a [`RouteHandle`] is made: the host must not be forgotten.
    fn hold(&self);

    /// Called when a [`RouteHandle`] is dropped.
    fn release(&self);
}

/// A route that is in use, of QPs that are held by `M`.
pub(crate) struct RouteHandle<M: 'static>(Arc<dyn Route<Member = M>>);

impl<M> RouteHandle<M> {
    /// Begins to use the route.
    pub(crate) fn new(route: Arc<dyn Route<Member = M>>) -> Self {
        route.hold();
        Self(route)
    }
}

impl<M> Clone for RouteHandle<M> {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl<M> Drop for RouteHandle<M> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<M> Deref for RouteHandle<M> {
    type Target = dyn Route<Member = M>;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Whether a frame may be sent in the caller's own context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxHint {
    /// The caller may sleep and do some of the work itself.
    Direct,
    /// The caller may sleep, but has so much to do that small frames had better be gathered.
    Batched,
    /// Somebody else has to send it.
    Deferred,
    /// It goes out with what follows: the caller has the peer send what is due when that is enough.
    Coalesce,
    /// So does this, and it may wait a moment for something else to ride on.
    Ride,
    /// The caller has posted so little, or so few short messages, of a stream of such, that it goes out with what is posted until all
    /// before it is acknowledged. Who receives that sends what is due.
    Gather,
    /// The caller has posted as little, to a host that owes its QP nothing: it goes out with that of other QPs, or with what programs are about
    /// to post, if that is being waited for, and else at once.
    Join(Sender),
}

/// Who sends what might have waited, and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The caller, as of [`TxHint::Direct`].
    Poster,
    /// A rail's own thread, as of [`TxHint::Batched`].
    Transmitter,
    /// Who has received something, as of [`TxHint::Coalesce`].
    Receiver,
}

/// State of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortLink {
    /// Rails that are up, to all peers together.
    pub(crate) rails: u32,
    /// What these rails carry together.
    pub(crate) rate: Rate,
}

/// Knows the ways to all hosts.
pub(crate) trait RouteTable: Send + Sync {
    /// What holds a QP.
    type Member: 'static;

    /// The way to the host with that address. It may be one that is not reachable yet. Sleeps.
    ///
    /// Fails with `ENOMEM`, with `EINVAL` for an address that no host has, or with `ENXIO` when there are too many
    /// hosts.
    fn route(&self, host: MacAddress) -> Result<RouteHandle<Self::Member>>;

    /// State of the port.
    fn port_link(&self) -> PortLink;

    /// This host's address.
    fn own_host(&self) -> MacAddress;

    /// The host with the lowest address above `after` that a rail is up to. May be called with a QP locked.
    fn next_host(&self, after: MacAddress) -> Option<MacAddress>;

    /// Whether datagrams can be sent to the host with that address now. May be called with a QP locked.
    fn reach(&self, host: MacAddress) -> Reach;

    /// The way to the host with that address, if a rail to it is up or it is this one. May be called with a QP locked; the handle must
    /// not be dropped so.
    fn reachable(&self, host: MacAddress) -> Option<RouteHandle<Self::Member>>;
}

/// Whether datagrams can be sent to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// They can.
    Open,
    /// No rail to it is up.
    NoRail,
    /// Its version of the driver does not know them.
    TooOld,
}

/// Where a QP puts the payload of a frame.
pub(crate) trait FrameSink {
    /// Memory of the sink's own, of at least `page_vec::MAX_PAYLOAD` bytes.
    fn staging(&mut self) -> &mut [u8];

    /// An empty list of pages.
    fn pages(&mut self) -> &mut PageVec;

    /// Copies what is in the list of pages to the staging memory, from byte `at` on, and empties the list. Fails with `EINVAL`
    /// when that is too long.
    fn stage_pages(&mut self, at: usize) -> Result;

    /// The longest payload that is taken now, at most `page_vec::MAX_PAYLOAD` bytes.
    fn room(&self) -> u32;
}
