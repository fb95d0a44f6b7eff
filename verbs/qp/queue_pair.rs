// SPDX-License-Identifier: GPL-2.0

//! The data of a queue pair.

use kernel::list::AtomicTracker;
use kernel::list::ListLinks;
use kernel::list::TryNewListArc;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::Arc;
use kernel::sync::CondVar;
use kernel::sync::SpinLock;
use kernel::time::Msecs;
use kernel::workqueue::DelayedWork;
use kernel::workqueue::Work;

use super::attributes::Attributes;
use super::departures::Departures;
use super::paging::Paging;
use super::receive_queue::Inbox;
use super::receive_queue::ReceiveQueue;
use super::send_queue::SendQueue;
use super::service::Received;
use super::service::Service;
use crate::base::number_table::NumberTable;
use crate::base::revocable::Ender;
use crate::base::workers::Workers;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::verbs::counters::Counters;
use crate::verbs::cq::CompletionQueue;
use crate::verbs::limits::MAX_QUEUE_PAIRS;
use crate::verbs::mr::RegionTable;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::pagers::Pagers;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::QpCap;
use crate::verbs::rdma::QpEvents;
use crate::verbs::rdma::QpReference;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::QpType;
use crate::verbs::rdma::SignalType;
use crate::verbs::route::RouteHandle;
use crate::verbs::route::RouteTable;
use crate::verbs::route_slot::RouteSlot;
use crate::verbs::window::Binder;

/// Number of the QP for general services (IBTA 3.5.3).
pub(super) const GENERAL_SERVICES: u32 = 1;
/// Numbers of QPs have 24 bits; 0 and 1 are those of the management QPs (IBTA 3.5.3).
const NUMBERS: core::ops::Range<u32> = 2..1 << 24;

/// QPs by number.
pub(crate) type QpTable = NumberTable<QueuePair>;

/// The way to the host at the other end of a QP's connection.
pub(crate) type QpRoute = RouteHandle<Arc<QueuePair>>;

/// Knows the ways to all hosts.
pub(crate) type QpRouteTable = dyn RouteTable<Member = Arc<QueuePair>>;

/// Id of the work that serves the protocol's timers.
pub(super) const TIMER: u64 = 0;
/// Id of the work that takes on what users in the kernel have posted.
pub(super) const POSTER: u64 = 2;
/// Id of the work for deferred event processing, which also looks for receives posted to a QP in the error state.
pub(super) const FLUSHER: u64 = 1;
/// Id of the work that waits for pages.
pub(super) const PAGER: u64 = 3;

/// The part of a QP that changes.
pub(super) struct State {
    /// State as its user knows it.
    pub(super) state: QpState,
    pub(super) attributes: Attributes,
    pub(super) service: Service,
    pub(super) send_queue: SendQueue,
    pub(super) receive_queue: ReceiveQueue,
    pub(super) route: RouteSlot<QpRoute>,
    /// A route that the QP had: to be let go of when nothing is locked.
    pub(super) old_route: Option<QpRoute>,
    /// When the timer work runs, as far as is known.
    pub(super) timer_at: Option<Instant>,
    /// Set when destruction begins; from then on no work is armed and no completion made.
    pub(super) is_destroyed: bool,
    /// How long the flusher sleeps, in milliseconds, once it is needed.
    pub(super) flush_interval_ms: Option<Msecs>,
    /// Whether the QP's own work is to go on with the events.
    pub(super) backlog: Backlog,
    pub(super) receive_flush: ReceiveFlush,
    /// What a local operation in progress has taken rights from.
    pub(super) ending: Option<Ender>,
    /// Payloads on their way into memory.
    pub(super) placements: u32,
    /// Payloads on their way out of memory of the kernel.
    pub(super) departures: Departures,
    /// The completion of a receive that waits until nothing is copied any more by the key that it tells of.
    pub(super) held: Option<Received>,
    /// Payloads that wait for pages.
    pub(super) paging: Paging,
}

impl State {
    /// A payload is not on its way into memory any more.
    pub(super) fn end_placement(&mut self, settled: &CondVar) {
        self.placements -= 1;
        self.tell_if_settled(settled);
    }

    /// Whether no payload is on its way from or to memory, as far as that is counted.
    pub(super) fn is_settled(&self) -> bool {
        self.placements == 0 && self.departures.total() == 0
    }

    /// To be called when a payload is not on its way any more.
    pub(super) fn tell_if_settled(&self, settled: &CondVar) {
        if self.is_settled() {
            settled.notify_all();
        }
    }
}

/// Whether events may be left to be processed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// None: the last round of processing them changed nothing.
    Clear,
    /// Perhaps: it did change something.
    Possible,
}

/// Which receives are flushed in the error state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiveFlush {
    /// Those the responder has taken; those in the ring come after them.
    Taken,
    /// Those in the ring.
    Ring,
}

/// A queue pair.
///
/// # Locking
///
/// `state` is a spinlock and never held while a payload is copied that is longer than a datagram. Order: QP, then shared receive queue,
/// then completion queue, then the tables' own. [`Route`](crate::verbs::route::Route) says how routes are called.
///
/// # Lifetime
///
/// Its user's object, the table of numbers, armed works, ready lists and segments under way each hold a
/// reference. After destruction none of them makes it do anything visible.
#[pin_data]
pub(crate) struct QueuePair {
    pub(super) qpn: Qpn,
    pub(super) pd: PdId,
    pub(super) qp_type: QpType,
    pub(super) cap: QpCap,
    pub(super) signalling: SignalType,
    pub(super) has_shared_receives: bool,
    pub(super) send_cq: Arc<CompletionQueue>,
    pub(super) recv_cq: Arc<CompletionQueue>,
    pub(super) events: QpEvents,
    /// What its completions name it by.
    pub(super) reference: QpReference,
    pub(super) regions: Arc<RegionTable>,
    /// Where it is found by its number until it is destroyed.
    pub(super) queue_pairs: Arc<QpTable>,
    pub(super) counters: Arc<Counters>,
    pub(super) routes: Arc<QpRouteTable>,
    pub(super) pagers: Arc<Pagers>,
    pub(super) workers: Arc<Workers>,
    pub(super) groups: Arc<MulticastGroups>,
    #[pin]
    pub(super) state: SpinLock<State>,
    /// Notified when no payload is on its way any more.
    #[pin]
    pub(super) settled: CondVar,
    #[pin]
    pub(super) timer: DelayedWork<QueuePair, TIMER>,
    #[pin]
    pub(super) flusher: DelayedWork<QueuePair, FLUSHER>,
    #[pin]
    pub(super) posted: DelayedWork<QueuePair, POSTER>,
    /// Whether requests may be posted, as its state has it: to be looked at without a lock.
    pub(super) takes_requests: Atomic<bool>,
    /// Whether receives that are posted are flushed, as above.
    pub(super) flushes_receives: Atomic<bool>,
    #[pin]
    pub(super) pager: Work<QueuePair, PAGER>,
    /// Membership in the ready list of the route that `state.route` names, and of no other.
    #[pin]
    pub(super) links: ListLinks,
    #[pin]
    pub(super) tracker: AtomicTracker,
}

impl QueuePair {
    /// An empty table.
    pub(crate) fn table() -> impl PinInit<QpTable> {
        // One more than are promised: that for general services takes none from processes.
        NumberTable::new(NUMBERS, MAX_QUEUE_PAIRS + 1)
    }

    /// The QP as windows know it.
    pub(super) fn binder(&self) -> Binder {
        Binder {
            qp: self.qpn,
            pd: self.pd,
        }
    }

    /// What the responder works with, of which `queue` is a part.
    pub(super) fn inbox<'a>(&'a self, queue: &'a mut ReceiveQueue) -> Inbox<'a> {
        Inbox {
            queue,
            regions: &self.regions,
            binder: self.binder(),
        }
    }
}

kernel::list::impl_list_arc_safe! {
    impl ListArcSafe<0> for QueuePair {
        tracked_by tracker: AtomicTracker;
    }
}

kernel::list::impl_list_item! {
    impl ListItem<0> for QueuePair {
        using ListLinks { self.links };
    }
}

kernel::workqueue::impl_has_work! {
    impl HasWork<QueuePair, PAGER> for QueuePair { self.pager }
}

kernel::workqueue::impl_has_delayed_work! {
    impl HasDelayedWork<QueuePair, TIMER> for QueuePair { self.timer }
    impl HasDelayedWork<QueuePair, FLUSHER> for QueuePair { self.flusher }
    impl HasDelayedWork<QueuePair, POSTER> for QueuePair { self.posted }
}
