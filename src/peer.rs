// SPDX-License-Identifier: GPL-2.0

//! A peer: another host, the rails that lead to it, and the QPs that have frames for it.
//!
//! Rails pull: a rail with room asks its peer for a frame, and the peer asks the QPs in its ready list.
//! A rail that finds nothing is noted as idle before it looks, so that work that comes up meanwhile wakes
//! it. One rail is woken at a time; if it leaves work behind, it wakes the next.

use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::SpinLock;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

use crate::clock;
use crate::ready_list::ReadyList;
use crate::stream_adapter::client::RailLink;
use crate::transport::acknowledgement::Standing;
use crate::transport::farewells::Farewell;
use crate::transport::farewells::Farewells;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;
use crate::transport::rail::tx::Delivery;
use crate::transport::requester::Rails;
use crate::transport::requester::Reachability;
use crate::verbs::netdev::neighbour::Neighbour;
use crate::verbs::netdev::MacAddress;
use crate::verbs::qp::Frame;
use crate::verbs::qp::QueuePair;
use crate::verbs::route::FrameSink;
use crate::verbs::route::RailSet;
use crate::verbs::route::Route;
use crate::verbs::route::Urgency;

struct State {
    /// What the host can take, once it has said so.
    limits: Option<Limits>,
    ready: ReadyList,
    farewells: Farewells,
    links: [Option<Arc<dyn RailLink>>; RailId::COUNT],
    up: RailSet,
    /// Rails that found nothing to send, and have not been woken since.
    idle: RailSet,
}

impl State {
    /// One of `rails` that is idle, if there is one: it must be told of work, and counts as busy from now on.
    fn take_idle(&mut self, rails: RailSet) -> Option<Arc<dyn RailLink>> {
        let rail = rails.and(self.idle).iter().next()?;
        self.idle.remove(rail);
        self.links[rail.index()].clone()
    }
}

/// Another host.
///
/// # Locking
///
/// The lock is taken with that of a QP held, never the other way round; the locks of rails are taken
/// inside. QPs and rails are let go of outside of it.
///
/// # Lifetime
///
/// Made when a QP is connected to the host or a rail to it comes up, whatever is first; kept until the
/// module goes.
#[pin_data]
pub(crate) struct Peer {
    host: MacAddress,
    neighbour: Arc<Neighbour>,
    #[pin]
    state: SpinLock<State>,
}

impl Peer {
    /// The host with that address, which the network interface knows as `neighbour`, with no rail yet.
    pub(crate) fn new(host: MacAddress, neighbour: Arc<Neighbour>) -> impl PinInit<Self> {
        pin_init!(Self {
            host,
            neighbour,
            state <- new_spinlock!(State {
                limits: None,
                ready: ReadyList::new(),
                farewells: Farewells::new(),
                links: [const { None }; RailId::COUNT],
                up: RailSet::NONE,
                idle: RailSet::NONE,
            }),
        })
    }

    /// The host's address.
    pub(crate) fn host(&self) -> MacAddress {
        self.host
    }

    /// The host as the network interface sees it.
    pub(crate) fn neighbour(&self) -> &Arc<Neighbour> {
        &self.neighbour
    }

    /// A rail to the host has come up.
    pub(crate) fn rail_up(&self, rail: RailId, link: &Arc<dyn RailLink>, limits: Limits) {
        let old = {
            let mut state = self.state.lock();
            state.limits = Some(limits);
            state.up.insert(rail);
            state.idle.remove(rail);
            state.links[rail.index()].replace(link.clone())
        };
        drop(old);
    }

    /// A rail to the host has gone down.
    pub(crate) fn rail_down(&self, rail: RailId) {
        let (link, other) = {
            let mut state = self.state.lock();
            state.up.remove(rail);
            state.idle.remove(rail);
            // Somebody else must do what the rail may have been woken for.
            let other = state.take_idle(RailSet::ALL);
            (state.links[rail.index()].take(), other)
        };
        drop(link);
        wake(other);
    }

    /// The next frame to go as number `seq` over `rail`.
    pub(crate) fn next(
        &self,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        sink: &mut impl FrameSink,
    ) -> Option<Frame> {
        let ready = {
            let mut state = self.state.lock();
            if let Some(ack) = state.farewells.take_due() {
                return Some(Frame::farewell(ack));
            }
            state.idle.insert(rail);
            state.ready.len()
        };
        // Each QP is asked once: some may have frames for other rails only.
        for _ in 0..ready {
            let qp = self.state.lock().ready.pop()?;
            let (frame, rails) = qp.next_frame(rail, seq, now, sink);
            if frame.is_some() {
                self.state.lock().idle.remove(rail);
            }
            if !rails.is_empty() {
                self.enqueue(&qp, rails, Urgency::Deferred);
            }
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    /// An acknowledgement of a QP that is gone was lost.
    pub(crate) fn on_lost_farewell(&self, qpn: Qpn) {
        self.tell(|farewells| farewells.on_lost(qpn));
    }

    /// Wakes a rail if a farewell is due after `change`, which says so of the one it is about.
    fn tell(&self, change: impl FnOnce(&mut Farewells) -> Standing) {
        let idle = {
            let mut state = self.state.lock();
            match change(&mut state.farewells) {
                Standing::Due => state.take_idle(RailSet::ALL),
                Standing::Sent => None,
            }
        };
        wake(idle);
    }

    /// Has sent what was scheduled as [`Urgency::Gathered`]: by as many idle rails as there are QPs, and by the caller
    /// itself as far as it is small. Sleeps.
    pub(crate) fn flush(&self) {
        let (ready, first) = {
            let mut state = self.state.lock();
            match state.ready.len() {
                0 => return,
                ready => (ready, state.take_idle(RailSet::ALL)),
            }
        };
        let Some(first) = first else { return };
        for _ in 1..ready {
            let idle = self.state.lock().take_idle(RailSet::ALL);
            if idle.is_none() {
                break;
            }
            wake(idle);
        }
        first.push();
    }

    /// Whether something of the QP, which has nothing to say any more, may still arrive at the host. What cannot be sent
    /// for want of a rail does not count.
    fn has_on_its_way(&self, qpn: Qpn) -> bool {
        let links = {
            let state = self.state.lock();
            if state.up.is_empty() {
                return false;
            }
            if state.farewells.is_due(qpn) {
                return true;
            }
            state.links.clone()
        };
        links.iter().flatten().any(|link| link.carries(qpn))
    }

    fn enqueue(&self, qp: &Arc<QueuePair>, rails: RailSet, urgency: Urgency) {
        let idle = {
            let mut state = self.state.lock();
            state.ready.push(qp);
            match urgency {
                Urgency::Inline | Urgency::Batched | Urgency::Deferred => state.take_idle(rails),
                Urgency::Gathered => None,
            }
        };
        match (urgency, idle) {
            (Urgency::Inline, Some(rail)) => rail.push(),
            (_, idle) => wake(idle),
        }
        // Its destruction may have looked for it in the list before it was there.
        if qp.is_destroyed() {
            self.forget(qp);
        }
    }
}

/// How long what a QP has sent before it was reset is waited for: longer than a rail takes to find out that it is dead.
const OUTWAIT: Duration = Duration::from_millis(4_000);
/// How often it is looked for.
const OUTWAIT_STEP: Delta = Delta::from_millis(1);

/// Tells the rail that there is work for it.
fn wake(rail: Option<Arc<dyn RailLink>>) {
    if let Some(rail) = rail {
        rail.kick().raise();
    }
}

impl Route for Peer {
    fn schedule(&self, qp: &Arc<QueuePair>, rails: RailSet, urgency: Urgency) {
        self.enqueue(qp, rails, urgency);
    }

    fn forget(&self, qp: &Arc<QueuePair>) {
        let entry = self.state.lock().ready.remove(qp);
        drop(entry);
    }

    fn farewell(&self, farewell: Farewell) {
        self.tell(|farewells| {
            farewells.add(farewell);
            farewell.standing
        });
    }

    fn outwait(&self, qpn: Qpn) {
        let deadline = clock::now().after(OUTWAIT);
        while self.has_on_its_way(qpn) && clock::now() < deadline {
            fsleep(OUTWAIT_STEP);
        }
    }

    fn withdraw_farewell(&self, qpn: Qpn) {
        self.state.lock().farewells.withdraw(qpn);
    }

    fn limits(&self) -> Option<Limits> {
        self.state.lock().limits
    }

    fn rails_up(&self) -> RailSet {
        self.state.lock().up
    }

    fn rails(&self) -> &dyn Rails {
        self
    }
}

impl Rails for Peer {
    fn delivery(&self, rail: RailId, seq: RailSeq) -> Delivery {
        match &self.state.lock().links[rail.index()] {
            Some(link) => link.delivery(seq),
            None => Delivery::Settled,
        }
    }

    fn is_up(&self, rail: RailId) -> bool {
        self.state.lock().up.contains(rail)
    }

    fn reachability(&self) -> Reachability {
        if self.state.lock().up.is_empty() {
            Reachability::Unreachable
        } else {
            Reachability::Reachable
        }
    }
}
