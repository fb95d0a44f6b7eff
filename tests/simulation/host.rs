// SPDX-License-Identifier: GPL-2.0

//! A host's queue pairs, doing what the verbs layer does.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;

use usb4_roce::transport::connection::Posted;
use usb4_roce::transport::final_acks::AckState;
use usb4_roce::transport::final_acks::FinalAcks;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::endpoint::Answers;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::scheduler::Afterwards;
use usb4_roce::transport::scheduler::Scheduler;

mod arrivals;
mod completions;
mod departures;
mod outgoing;
mod queue_pair;
mod receive_ring;
mod up;

use crate::datagrams::Port;
use crate::ledger::Ledger;
use crate::unreliable;

pub use outgoing::Outgoing;
pub use outgoing::Steadiness;
pub use queue_pair::QueuePair;
pub use receive_ring::ReceiveRing;

/// The way a frame goes.
#[derive(Clone, Copy)]
pub struct Way {
    pub peer: usize,
    pub rail: RailId,
    /// The peer's.
    pub limits: Limits,
    pub features: Features,
    /// What the rail does if there is no frame.
    pub afterwards: Afterwards,
}

/// What a host keeps of another one, as the verbs layer's peer does.
#[derive(Default)]
struct Peer {
    final_acks: FinalAcks,
    scheduler: Scheduler,
    /// Queue pairs that have frames for it.
    ready: VecDeque<usize>,
}

impl Peer {
    fn waiting(&self) -> usize {
        self.ready.len() + self.final_acks.due()
    }
}

pub struct Host {
    number: usize,
    pub limits: Limits,
    pub qps: Vec<QueuePair>,
    peers: BTreeMap<usize, Peer>,
    pub rings: Vec<ReceiveRing>,
    /// Ends of unreliable connections.
    pub unreliable: unreliable::QueuePairs,
    pub port: Port,
    /// Queue pairs that something was done to, and that have not been scheduled since.
    touched: BTreeSet<usize>,
    /// Those of them that nothing was done to but that something was posted.
    posted: BTreeSet<usize>,
    /// Queue pairs whose little messages wait for an acknowledgement.
    held: BTreeSet<usize>,
    /// Rails that were told of work.
    told: Vec<RailId>,
}

impl Host {
    pub fn new(number: usize, limits: Limits, seed: u64) -> Self {
        Self {
            number,
            port: Port::new(number, seed),
            limits,
            qps: Vec::new(),
            peers: BTreeMap::new(),
            rings: Vec::new(),
            unreliable: unreliable::QueuePairs::default(),
            touched: BTreeSet::new(),
            posted: BTreeSet::new(),
            held: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    /// Something was done to a queue pair, which may have frames now.
    pub fn touch(&mut self, index: usize) {
        self.touched.insert(index);
        self.posted.remove(&index);
    }

    /// Something was posted to a queue pair.
    pub fn touch_by_post(&mut self, index: usize) {
        if self.touched.insert(index) {
            self.posted.insert(index);
        }
    }

    /// Passes on what queue pairs have to send since something was done to them. Gives the rails to be woken.
    pub fn schedule(&mut self, now: Instant, ledger: &Ledger) -> Vec<RailId> {
        self.aim(now, ledger);
        for index in core::mem::take(&mut self.touched) {
            if self.posted.remove(&index)
                && self.qps[index].protocol.posted() == Posted::WaitsForAck
            {
                self.hold(index, now);
            } else {
                self.schedule_one(index, now);
            }
        }
        let peers = &self.peers;
        let due = self.unreliable.schedule(|peer| choice(peers, peer));
        for (peer, rails) in due {
            if !rails.is_empty() {
                let peer = self.peers.entry(peer).or_default();
                self.told.extend(peer.scheduler.notify(rails));
            }
        }
        core::mem::take(&mut self.told)
    }

    /// Tells a rail of the next datagram. What has no rail to go over is dropped.
    fn aim(&mut self, now: Instant, ledger: &Ledger) {
        while core::mem::take(&mut self.port.has_news) {
            let Some(number) = self.port.head_peer(&ledger.datagrams) else {
                return;
            };
            if self.up(number).is_empty() {
                self.port.drop_head();
                continue;
            }
            self.port.note_waiting(now);
            let peer = self.peers.entry(number).or_default();
            self.told.extend(peer.scheduler.notify(RailSet::ALL));
        }
    }

    fn schedule_one(&mut self, index: usize, now: Instant) {
        self.held.remove(&index);
        let rails = self.enlist(index, now);
        if !rails.is_empty() {
            let peer = self.peers.entry(self.qps[index].peer).or_default();
            self.told.extend(peer.scheduler.notify(rails));
        }
    }

    /// What was posted waits for the acknowledgement that is owed.
    fn hold(&mut self, index: usize, now: Instant) {
        if !self.enlist(index, now).is_empty() {
            self.held.insert(index);
        }
    }

    /// Puts a queue pair into the list of those that have frames, if it has. Gives the rails for which it has some.
    fn enlist(&mut self, index: usize, now: Instant) -> RailSet {
        let qp = &self.qps[index];
        if qp.is_destroyed {
            return RailSet::NONE;
        }
        let peer = self.peers.entry(qp.peer).or_default();
        let up = peer.scheduler.up();
        let rails = qp.rails_with_frames(up, now);
        if !rails.is_empty() && !peer.ready.contains(&index) {
            peer.ready.push_back(index);
        }
        rails
    }

    pub fn rail_up(&mut self, peer: usize, rail: RailId) {
        self.peers.entry(peer).or_default().scheduler.rail_up(rail);
        self.unreliable.touch_all();
    }

    pub fn rail_down(&mut self, peer_number: usize, rail: RailId) {
        let waiting = self.waiting(peer_number);
        let peer = self.peers.entry(peer_number).or_default();
        self.told.extend(peer.scheduler.rail_down(rail, waiting));
        self.unreliable.settle(rail, |_| FrameStatus::Settled);
        self.unreliable.touch_all();
        self.port.has_news = true;
        // What was sent over it binds nothing any more.
        let theirs = (0..self.qps.len()).filter(|&index| self.qps[index].peer == peer_number);
        self.touched.extend(theirs);
    }

    pub fn note_answers(&mut self, peer: usize, rail: RailId, answers: Answers) {
        let waiting = self.waiting(peer);
        let peer = self.peers.entry(peer).or_default();
        self.told.extend(match answers {
            Answers::Come => peer.scheduler.trust(rail, waiting),
            Answers::Missing => peer.scheduler.suspect(rail, waiting),
        });
    }

    /// How much waits to be sent to a peer.
    fn waiting(&self, peer: usize) -> usize {
        let (up, answering) = choice(&self.peers, peer);
        let unreliable = self.unreliable.rails_with_frames(peer, up, answering).len();
        self.peers.get(&peer).map_or(0, Peer::waiting) + unreliable
    }

    /// Whether there is something to send to `peer` over `rail`.
    pub fn has_work(&self, peer: usize, rail: RailId, now: Instant, ledger: &Ledger) -> bool {
        if self.port.head_peer(&ledger.datagrams) == Some(peer) {
            return true;
        }
        let final_acks = self
            .peers
            .get(&peer)
            .map_or(0, |peer| peer.final_acks.due());
        let up = self.up(peer);
        let mut qps = self.qps.iter().enumerate().filter(|(index, qp)| {
            let waits = self.held.contains(index) && qp.protocol.posted() == Posted::WaitsForAck;
            qp.peer == peer && !qp.is_destroyed && !waits
        });
        let (_, answering) = choice(&self.peers, peer);
        let unreliable = self.unreliable.rails_with_frames(peer, up, answering);
        final_acks > 0
            || qps.any(|(_, qp)| qp.rails_with_frames(up, now).contains(rail))
            || unreliable.iter().any(|rails| rails.contains(rail))
    }

    /// The rails to `peer` that are up.
    fn up(&self, peer: usize) -> RailSet {
        let peer = self.peers.get(&peer);
        peer.map_or(RailSet::NONE, |peer| peer.scheduler.up())
    }

    fn find(&self, qpn: Qpn) -> Option<usize> {
        self.qps
            .iter()
            .position(|qp| qp.qpn == qpn && !qp.is_destroyed)
    }

    /// Ends a queue pair, as its user wants it.
    pub fn destroy(&mut self, index: usize) {
        self.reset(index);
        self.qps[index].is_destroyed = true;
    }

    /// Whether something of a queue pair that was reset is still to be said.
    pub fn owes_final_ack(&self, index: usize) -> bool {
        let qp = &self.qps[index];
        self.peers
            .get(&qp.peer)
            .is_some_and(|peer| peer.final_acks.is_due(qp.qpn))
    }

    /// Forgets what the earlier life of a queue pair had to say.
    pub fn withdraw_final_ack(&mut self, index: usize) {
        let qp = &self.qps[index];
        if let Some(peer) = self.peers.get_mut(&qp.peer) {
            peer.final_acks.withdraw(qp.qpn);
        }
    }

    /// Ends the connection of a queue pair.
    pub fn reset(&mut self, index: usize) {
        let qp = &mut self.qps[index];
        if let Some(final_ack) = qp.protocol.reset() {
            let peer = self.peers.entry(qp.peer).or_default();
            peer.final_acks.add(final_ack);
            if final_ack.state == AckState::Due {
                self.told.extend(peer.scheduler.notify(RailSet::ALL));
            }
        }
        // What is being placed belongs to nobody any more.
        qp.connection = usize::MAX;
    }
}

/// The rails to a peer that are up, and those of them over which it answers.
fn choice(peers: &BTreeMap<usize, Peer>, peer: usize) -> (RailSet, RailSet) {
    peers
        .get(&peer)
        .map_or((RailSet::NONE, RailSet::NONE), |peer| {
            (peer.scheduler.up(), peer.scheduler.sound())
        })
}
