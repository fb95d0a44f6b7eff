// SPDX-License-Identifier: GPL-2.0

//! A peer: another host, the rails that lead to it, and the QPs that have frames for it.
//!
//! Rails pull: a rail with room asks its peer for a frame, and the peer asks the QPs in its ready list. Which rail is
//! told when there is work is the scheduler's decision.

use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::SpinLock;
use kernel::task::Kuid;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

use crate::base::clock;
use crate::base::event::Event;
use crate::base::log_limit::Allowance;
use crate::base::log_limit::LogLimit;
use crate::fabric::peer_table::Entry;
use crate::fabric::ready_list::ReadyList;
use crate::stream_adapter::client::Answers;
use crate::stream_adapter::client::Due;
use crate::stream_adapter::client::Occasion;
use crate::stream_adapter::client::RailLink;
use crate::transport::final_acks::AckState;
use crate::transport::final_acks::FinalAck;
use crate::transport::final_acks::FinalAcks;
use crate::transport::held::Departure;
use crate::transport::held::Held;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;
use crate::transport::rail::hello::Features;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::Rails;
use crate::transport::scheduler::Afterwards;
use crate::transport::scheduler::Scheduler;
use crate::transport::scheduler::Turn;
use crate::transport::share::Cause;
use crate::transport::share::Share;
use crate::verbs::netdev::net_peer::NetPeer;
use crate::verbs::netdev::MacAddress;
use crate::verbs::qp::QueuePair;
use crate::verbs::qp::TxFrame;
use crate::verbs::route::Errand;
use crate::verbs::route::FrameSink;
use crate::verbs::route::Route;
use crate::verbs::route::Sender;
use crate::verbs::route::TxHint;
use crate::verbs::route::Work;
use crate::verbs::route_slot::Attached;
use crate::verbs::route_slot::Roster;
use crate::verbs::route_slot::RosterId;

struct State {
    /// What the host can take, and what it offers of that which QPs can do, once it has said so.
    offer: Option<(Limits, Features)>,
    /// Keeps the log from being flooded with what it does not know of.
    log_limit: LogLimit,
    ready: ReadyList,
    final_acks: FinalAcks,
    links: [Option<Arc<dyn RailLink>>; RailId::COUNT],
    scheduler: Scheduler,
    /// What of the ready list waits, and no rail was told of.
    held: Held,
}

impl State {
    fn link(&self, rail: Option<RailId>) -> Option<Arc<dyn RailLink>> {
        self.links[rail?.index()].clone()
    }

    /// What wakes the rail. Unlike the link it may be let go of with a spinlock held.
    fn tx_event(&self, rail: Option<RailId>) -> Option<Arc<Event>> {
        let link = self.links[rail?.index()].as_ref()?;
        Some(link.tx_event().clone())
    }

    /// Takes the first QP of the list. The caller must not drop it with the lock held.
    fn pop_ready(&mut self) -> Option<Arc<QueuePair>> {
        let qp = self.ready.pop();
        self.note_removal();
        qp
    }

    /// Something was taken out of the list.
    fn note_removal(&mut self) {
        if self.ready.len() == 0 {
            self.held.release();
        }
    }

    /// Number of QPs and last acknowledgements that wait to be sent.
    fn waiting(&self) -> usize {
        self.ready.len() + self.final_acks.due()
    }
}

/// Another host.
///
/// # Locking
///
/// The lock is taken with that of a QP held, never the other way round; the locks of rails are taken
/// inside. QPs and links are let go of outside of it.
///
/// # Lifetime
///
/// Made when a QP is connected to the host or a rail to it comes up, whatever is first. Forgotten when there is no
/// room for another one and neither QP nor rail needs it.
#[pin_data]
pub(crate) struct Peer {
    host: MacAddress,
    /// Who connected the first QP, unless a rail was first.
    named_by: Option<Kuid>,
    net_peer: Arc<NetPeer>,
    /// QPs whose route this is, and rails.
    users: Atomic<u32>,
    /// Whether it was said that the host's driver is too old for something.
    has_complaint: Atomic<bool>,
    #[pin]
    state: SpinLock<State>,
}

impl Peer {
    /// The host with that address, which the network interface knows as `net_peer`, with no rail yet.
    pub(crate) fn new(
        host: MacAddress,
        named_by: Option<Kuid>,
        net_peer: Arc<NetPeer>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            host,
            named_by,
            net_peer,
            users: Atomic::new(0),
            has_complaint: Atomic::new(false),
            state <- new_spinlock!(State {
                offer: None,
                log_limit: LogLimit::new(),
                ready: ReadyList::new(),
                final_acks: FinalAcks::new(),
                links: [const { None }; RailId::COUNT],
                scheduler: Scheduler::new(),
                held: Held::new(),
            }),
        })
    }

    /// The host's address.
    pub(crate) fn host(&self) -> MacAddress {
        self.host
    }

    /// Whether nothing was said before of what the host's driver is too old for.
    pub(crate) fn is_first_complaint(&self) -> bool {
        !self.has_complaint.xchg(true, Relaxed)
    }

    /// The host as the network interface sees it.
    pub(crate) fn net_peer(&self) -> &Arc<NetPeer> {
        &self.net_peer
    }

    /// A rail to the host has come up. With other rails up, what the host can take and offers stays; fails with `EEXIST` if this
    /// one says something else.
    pub(crate) fn rail_up(
        &self,
        rail: RailId,
        link: &Arc<dyn RailLink>,
        offer: (Limits, Features),
    ) -> Result {
        let old = {
            let mut state = self.state.lock();
            if !state.scheduler.up().is_empty() && state.offer != Some(offer) {
                return Err(EEXIST);
            }
            state.offer = Some(offer);
            state.scheduler.rail_up(rail);
            state.links[rail.index()].replace(link.clone())
        };
        drop(old);
        Ok(())
    }

    /// A rail to the host has gone down.
    pub(crate) fn rail_down(&self, rail: RailId) {
        let (link, other) = {
            let mut state = self.state.lock();
            let waiting = state.waiting();
            // Who was to see to the end of a wait may be its receiving thread.
            state.held.release();
            state.held.stop_waiting();
            let other = state.scheduler.rail_down(rail, waiting);
            (state.links[rail.index()].take(), state.tx_event(other))
        };
        drop(link);
        wake(other);
    }

    /// Whether the host answers over a rail has changed.
    pub(crate) fn note_answers(&self, rail: RailId, answers: Answers) {
        let told = {
            let mut state = self.state.lock();
            let waiting = state.waiting();
            let told = match answers {
                Answers::Come => state.scheduler.trust(rail, waiting),
                Answers::Missing => state.scheduler.suspect(rail, waiting),
            };
            state.tx_event(told)
        };
        wake(told);
    }

    /// The next frame to go as number `seq` over `rail`, and what the rail does if there is none.
    pub(crate) fn next(
        &self,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        sink: &mut impl FrameSink,
        afterwards: Afterwards,
    ) -> Option<TxFrame> {
        let ready = {
            let mut state = self.state.lock();
            if state.scheduler.ask(rail) == Turn::Rest {
                return None;
            }
            if let Some(ack) = state.final_acks.take_due() {
                state.scheduler.found(rail);
                return Some(TxFrame::final_ack(ack));
            }
            state.ready.len()
        };
        // Each QP is asked once: some may have frames for other rails only.
        for _ in 0..ready {
            let Some(qp) = self.state.lock().pop_ready() else {
                break;
            };
            if let Some(frame) = qp.next_frame(self.id(), rail, seq, now, sink) {
                self.state.lock().scheduler.found(rail);
                return Some(frame);
            }
        }
        let again = {
            let mut state = self.state.lock();
            let again = state.scheduler.found_nothing(rail, afterwards);
            state.tx_event(again)
        };
        wake(again);
        None
    }

    /// The rail has to write before it can take a frame, and will ask then.
    pub(crate) fn rail_busy(&self, rail: RailId) {
        self.state.lock().scheduler.busy(rail);
    }

    /// An acknowledgement of a QP that is gone was lost.
    pub(crate) fn on_lost_final_ack(&self, qpn: Qpn) {
        self.change_final_acks(|final_acks| final_acks.on_lost(qpn));
    }

    /// Wakes a rail if a last acknowledgement is due after `change`, which says so of the one it is about.
    fn change_final_acks(&self, change: impl FnOnce(&mut FinalAcks) -> AckState) {
        let told = {
            let mut state = self.state.lock();
            match change(&mut state.final_acks) {
                AckState::Due => {
                    let told = state.scheduler.notify(RailSet::ALL);
                    state.tx_event(told)
                }
                AckState::Sent => None,
            }
        };
        wake(told);
    }

    /// Has sent what was scheduled as [`TxHint::Coalesce`], [`TxHint::Ride`], [`TxHint::Gather`] or [`TxHint::Join`]: by as many idle
    /// rails as there are QPs, and by the caller itself as far as it is small. Acknowledgements may be left to wait for something to ride on,
    /// and little messages for programs. Sleeps.
    pub(crate) fn send_due(&self, occasion: Occasion) -> Due {
        let (first, due) = {
            let mut state = self.state.lock();
            let now = clock::now();
            let ready = state.ready.len();
            if ready > 0 && occasion == Occasion::MayWait {
                match state.held.departure(now) {
                    Departure::Now => {}
                    Departure::Until(until) => return Due::WaitsUntil(until),
                    Departure::WithAck => return Due::Settled,
                }
            }
            state.held.release();
            let due = match occasion {
                // Also if all there was goes: what is posted meanwhile waits.
                Occasion::MayWait => match state.held.programs_until(now) {
                    Some(until) => Due::WaitsUntil(until),
                    None => Due::Settled,
                },
                Occasion::AskedAgain => Due::Settled,
                Occasion::MustGo => {
                    state.held.stop_waiting();
                    Due::Settled
                }
            };
            if ready == 0 {
                return due;
            }
            let first = state.scheduler.notify(RailSet::ALL);
            for _ in 1..ready {
                let other = state.scheduler.notify(RailSet::ALL);
                if other.is_none() {
                    break;
                }
                wake(state.tx_event(other));
            }
            (state.link(first), due)
        };
        if let Some(first) = first {
            first.send_now();
        }
        due
    }

    /// Whether something of the QP, which has nothing to say any more, may still arrive at the host. What cannot be sent
    /// for want of a rail does not count.
    fn has_on_its_way(&self, qpn: Qpn) -> bool {
        let links = {
            let state = self.state.lock();
            if state.scheduler.up().is_empty() {
                return false;
            }
            if state.final_acks.is_due(qpn) {
                return true;
            }
            state.links.clone()
        };
        links.iter().flatten().any(|link| link.carries(qpn))
    }
}

/// How long what a QP has sent before it was reset is waited for: longer than a rail takes to find out that it is dead.
const OUTWAIT: Duration = Duration::from_millis(4_000);
/// How long to sleep between looks.
const OUTWAIT_STEP: Delta = Delta::from_millis(1);

/// Tells a rail that there is work for it.
fn wake(rail: Option<Arc<Event>>) {
    if let Some(tx_event) = rail {
        tx_event.raise();
    }
}

impl Entry for Arc<Peer> {
    type User = Kuid;

    fn is_used(&self) -> bool {
        self.users.load(Relaxed) > 0
    }

    fn has_rail(&self) -> bool {
        !self.up().is_empty()
    }

    fn named_by(&self) -> Option<&Kuid> {
        self.named_by.as_ref()
    }
}

impl Roster for Peer {
    type Member = Arc<QueuePair>;
    type Work = Work;
    type Errand = Errand;

    fn id(&self) -> RosterId {
        RosterId::of(self)
    }

    fn note_share(&self, old: Share, new: Share, cause: Cause) {
        let mut state = self.state.lock();
        state.held.note_share(old, new, cause, clock::now);
    }

    fn enqueue(&self, qp: &Attached<'_, Arc<QueuePair>>, work: Work) -> Errand {
        let mut state = self.state.lock();
        state.ready.push(qp);
        match work.hint {
            TxHint::Ride => {
                state.held.note_ack();
                return Errand::Nothing;
            }
            TxHint::Gather if state.held.hold_message(clock::now()) => return Errand::Nothing,
            TxHint::Join(_) if state.held.join_messages(clock::now()) => return Errand::Nothing,
            TxHint::Coalesce | TxHint::Join(Sender::Receiver) => {
                state.held.note_other();
                return Errand::Nothing;
            }
            TxHint::Direct
            | TxHint::Batched
            | TxHint::Gather
            | TxHint::Join(Sender::Poster | Sender::Transmitter) => {
                state.held.note_post(clock::now);
            }
            TxHint::Deferred => {}
        }
        let told = state.scheduler.notify(work.rails);
        match work.hint {
            TxHint::Direct | TxHint::Join(Sender::Poster) => {
                state.link(told).map_or(Errand::Nothing, Errand::Push)
            }
            TxHint::Batched
            | TxHint::Deferred
            | TxHint::Coalesce
            | TxHint::Ride
            | TxHint::Gather
            | TxHint::Join(Sender::Transmitter | Sender::Receiver) => {
                state.tx_event(told).map_or(Errand::Nothing, Errand::Wake)
            }
        }
    }

    fn dequeue(&self, qp: &Attached<'_, Arc<QueuePair>>) {
        let mut state = self.state.lock();
        state.ready.remove(qp);
        state.note_removal();
    }
}

impl Route for Peer {
    fn carry(&self, _hint: TxHint) {}

    fn final_ack(&self, final_ack: FinalAck) {
        self.change_final_acks(|final_acks| {
            final_acks.add(final_ack);
            final_ack.state
        });
    }

    fn outwait(&self, qpn: Qpn) {
        let deadline = clock::now().after(OUTWAIT);
        while self.has_on_its_way(qpn) && clock::now() < deadline {
            fsleep(OUTWAIT_STEP);
        }
    }

    fn withdraw_final_ack(&self, qpn: Qpn) {
        self.state.lock().final_acks.withdraw(qpn);
    }

    fn limits(&self) -> Option<Limits> {
        self.state.lock().offer.map(|(limits, _)| limits)
    }

    fn features(&self) -> Option<Features> {
        self.state.lock().offer.map(|(_, features)| features)
    }

    fn log_unable(&self, what: &str) {
        let allowance = self.state.lock().log_limit.ask(clock::now());
        if let Allowance::Log { left_out } = allowance {
            let host = self.host.0;
            pr_warn!(
                "host {host:02x?} does not know of {what}: requests that need that end with an error there; bring its usb4_roce up to date \
                 ({left_out} such lines left out)\n"
            );
        }
    }

    fn rails(&self) -> &dyn Rails {
        self
    }

    fn hold(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    fn release(&self) {
        self.users.fetch_sub(1, Relaxed);
    }
}

impl Rails for Peer {
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus {
        match &self.state.lock().links[rail.index()] {
            Some(link) => link.frame_status(seq),
            None => FrameStatus::Settled,
        }
    }

    fn up(&self) -> RailSet {
        self.state.lock().scheduler.up()
    }

    fn answering(&self) -> RailSet {
        self.state.lock().scheduler.sound()
    }
}
