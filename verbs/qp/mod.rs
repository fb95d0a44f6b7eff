// SPDX-License-Identifier: GPL-2.0

//! Queue pairs of reliable connections.
//!
//! The protocol is `transport`'s. A QP here owns the mapped rings, keeps the scatter lists of what the
//! protocol is working on, resolves them to pages, and turns the protocol's results into completions
//! and events.

mod attributes;
mod create;
mod deliver;
mod modify;
mod receive_queue;
mod send_queue;
mod settle;
mod timer;
mod transmit;

use kernel::list::AtomicTracker;
use kernel::list::ListLinks;
use kernel::list::TryNewListArc;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::CondVar;
use kernel::sync::SpinLock;
use kernel::workqueue::DelayedWork;

use self::attributes::Attributes;
use self::receive_queue::ReceiveQueue;
use self::send_queue::SendQueue;
use self::settle::Progress;
use super::cq::CompletionQueue;
use super::objects::Objects;
use super::pd::PdId;
use super::rdma::QpCap;
use super::rdma::QpEvents;
use super::rdma::QpState;
use super::rdma::Signalling;
use super::route::RouteHandle;
use super::route::Router;
use crate::route_slot::RouteSlot;
use crate::tables::KernelTables;
use crate::transport::connection::Connection;
use crate::transport::connection::ConnectionCounters;
use crate::transport::frame::SegmentSize;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::limits::Limits;

pub(crate) use create::UserQueuePair;
pub(crate) use deliver::Arrival;
pub(crate) use transmit::Frame;
pub(crate) use transmit::FramePayload;

/// How messages are cut, unless the peer takes less at a time.
const SEGMENT: SegmentSize = SegmentSize::LARGEST;

/// PSNs a QP may have outstanding, and with them receives it has taken.
pub(crate) const WINDOW: u16 = 256;

/// READs a QP may have outstanding in each direction.
pub(crate) const MAX_RD_ATOMIC: u8 = 128;

/// What this host can take, as its peers are told.
pub(crate) const LIMITS: Limits = Limits {
    max_payload: SEGMENT.get(),
    window: WINDOW,
    max_rd_atomic: MAX_RD_ATOMIC,
};

/// Id of the work that serves the protocol's timers.
const TIMER: u64 = 0;
/// Id of the work that does what a thread of others has left, and looks for receives posted to a QP in the error
/// state.
const FLUSHER: u64 = 1;

/// The part of a QP that changes.
struct State {
    /// State as its user knows it.
    state: QpState,
    attributes: Attributes,
    connection: Connection<KernelTables>,
    send_queue: SendQueue,
    receive_queue: ReceiveQueue,
    route: RouteSlot<RouteHandle>,
    /// When the timer work runs, as far as is known.
    timer_at: Option<Instant>,
    /// Set when destruction begins; from then on no work is armed and no completion made.
    is_destroyed: bool,
    /// How long the flusher sleeps, in milliseconds, once it is needed.
    flush_interval: Option<u32>,
    /// What the last round of settling came to: there may be more to do.
    backlog: Progress,
    receive_flush: ReceiveFlush,
    /// Whether a request came before the QP was ready for it.
    early_request: EarlyRequest,
    /// Payloads on their way into memory.
    deliveries: u32,
    /// What of the protocol's counters has been added to the port's.
    counted: ConnectionCounters,
}

/// Which receives are flushed in the error state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReceiveFlush {
    /// Those the responder has taken; those in the ring come after them.
    Taken,
    /// Those in the ring.
    Ring,
}

/// Whether a request came before the QP was ready for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EarlyRequest {
    /// None that is known.
    None,
    /// One was dropped.
    Dropped,
}

/// A queue pair.
///
/// # Locking
///
/// `state` is a spinlock and never held while a payload is copied. Order: QP, then shared receive queue,
/// then completion queue, then the tables' own. [`Route`](super::route::Route) says how routes are called.
///
/// # Lifetime
///
/// Its user's object, the table of numbers, armed works, ready lists and segments under way each hold a
/// reference. After destruction none of them makes it do anything visible.
#[pin_data]
pub(crate) struct QueuePair {
    qpn: Qpn,
    pd: PdId,
    cap: QpCap,
    signalling: Signalling,
    has_shared_receives: bool,
    send_cq: Arc<CompletionQueue>,
    recv_cq: Arc<CompletionQueue>,
    events: QpEvents,
    objects: Arc<Objects>,
    router: Arc<dyn Router>,
    #[pin]
    state: SpinLock<State>,
    /// Notified when no payload is on its way any more.
    #[pin]
    delivered: CondVar,
    #[pin]
    timer: DelayedWork<QueuePair, TIMER>,
    #[pin]
    flusher: DelayedWork<QueuePair, FLUSHER>,
    /// Membership in the ready list of the route that `state.route` names, and of no other.
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
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

kernel::workqueue::impl_has_delayed_work! {
    impl HasDelayedWork<QueuePair, 0> for QueuePair { self.timer }
    impl HasDelayedWork<QueuePair, 1> for QueuePair { self.flusher }
}
