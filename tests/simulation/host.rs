// SPDX-License-Identifier: GPL-2.0

//! A host's queue pairs, doing what the verbs layer does.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;

use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::connection::PayloadToken;
use usb4_roce::transport::connection::Segment;
use usb4_roce::transport::final_acks::AckState;
use usb4_roce::transport::final_acks::FinalAcks;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::endpoint::Answers;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::LocalRange;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::ResponseToken;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::DropReason;
use usb4_roce::transport::responder::RequestToken;
use usb4_roce::transport::responder::ResponseSource;
use usb4_roce::transport::scheduler::Afterwards;
use usb4_roce::transport::scheduler::Scheduler;
use usb4_roce::transport::scheduler::Turn;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;

mod outgoing;
mod queue_pair;
mod receive_ring;

use crate::datagrams::Port;
use crate::ledger::Fate;
use crate::ledger::Ledger;
use crate::pattern;
use crate::unreliable;
use receive_ring::Taker;

pub use outgoing::Outgoing;
pub use outgoing::Steadiness;
pub use queue_pair::QueuePair;
pub use receive_ring::ReceiveRing;

/// Where a payload goes.
#[derive(Clone, Copy, Debug)]
enum Placement {
    Discard,
    Write {
        qp: usize,
        token: RequestToken,
        rkey: u32,
        va: u64,
    },
    Receive {
        qp: usize,
        token: RequestToken,
        slot: ReceiveSlot,
        offset: u32,
    },
    Response {
        qp: usize,
        token: ResponseToken,
        target: LocalRange,
    },
}

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

/// Rails that are up, as those know that ask for frames.
struct Up(RailSet);

impl Rails for Up {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        unreachable!("only timers ask")
    }

    fn up(&self) -> RailSet {
        self.0
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
            if self.posted.remove(&index) && self.qps[index].protocol.may_gather() {
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
            let waits = self.held.contains(index) && qp.protocol.may_gather();
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

    /// The next frame for a rail to `peer`.
    pub fn next(
        &mut self,
        way: Way,
        seq: RailSeq,
        now: Instant,
        ledger: &mut Ledger,
    ) -> Option<Outgoing> {
        let peer = self.peers.entry(way.peer).or_default();
        if peer.scheduler.ask(way.rail) == Turn::Rest {
            return None;
        }
        if let Some(ack) = peer.final_acks.take_due() {
            peer.scheduler.found(way.rail);
            let qpn = ack.src_qpn;
            return Some(Outgoing::acknowledgement_of(qpn, ack));
        }
        // The two kinds take turns.
        if seq.0 % 2 == 0 {
            if let Some(frame) = self.next_unreliable(&way, seq, ledger) {
                return Some(frame);
            }
        }
        let peer = self.peers.entry(way.peer).or_default();
        let ready = peer.ready.len();
        for _ in 0..ready {
            let peer = self.peers.entry(way.peer).or_default();
            let Some(index) = peer.ready.pop_front() else {
                break;
            };
            let up = peer.scheduler.up();
            let qp = &mut self.qps[index];
            if qp.is_destroyed {
                continue;
            }
            if qp.protocol.awaits_limits() {
                qp.protocol.handle_limits(&way.limits);
                qp.protocol.handle_features(way.features);
            }
            let had_work = qp.rails_with_frames(up, now).contains(way.rail);
            let frame = self.next_of(index, way.rail, seq, now, ledger);
            self.schedule_one(index, now);
            if frame.is_some() {
                assert!(had_work, "work that was not announced");
                let peer = self.peers.entry(way.peer).or_default();
                peer.scheduler.found(way.rail);
                return frame;
            }
        }
        if let Some(frame) = self.next_unreliable(&way, seq, ledger) {
            return Some(frame);
        }
        if self.port.head_peer(&ledger.datagrams) == Some(way.peer) {
            let peer = self.peers.entry(way.peer).or_default();
            peer.scheduler.found(way.rail);
            let datagram = self.port.next(&mut ledger.datagrams);
            self.aim(now, ledger);
            return datagram;
        }
        let peer = self.peers.entry(way.peer).or_default();
        let again = peer.scheduler.found_nothing(way.rail, way.afterwards);
        self.told.extend(again);
        None
    }

    fn next_unreliable(
        &mut self,
        way: &Way,
        seq: RailSeq,
        ledger: &mut Ledger,
    ) -> Option<Outgoing> {
        let choice = choice(&self.peers, way.peer);
        let frame = self
            .unreliable
            .next(way, seq, choice, &mut ledger.unreliable)?;
        let peer = self.peers.entry(way.peer).or_default();
        peer.scheduler.found(way.rail);
        Some(frame)
    }

    fn next_of(
        &mut self,
        index: usize,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        ledger: &Ledger,
    ) -> Option<Outgoing> {
        let up = Up(self.up(self.qps[index].peer));
        let qp = &mut self.qps[index];
        let qpn = qp.qpn;
        if let Some(ack) = qp.protocol.poll_ack() {
            return Some(Outgoing::acknowledgement_of(qpn, ack));
        }
        let slot = FrameSlot {
            rail,
            seq,
            room: MAX_PAYLOAD,
        };
        let segment = loop {
            let response = match qp.protocol.poll_segment(slot, now, &up)? {
                Segment::Response(response) => response,
                Segment::Request(segment) => break segment,
            };
            let psn = response.header.response_psn;
            let source = match response.source {
                ResponseSource::Memory(source) => source,
                ResponseSource::Value(value) => {
                    let len = response.header.extent.len() as usize;
                    return Some(Outgoing {
                        body: Body::Response(response.header),
                        payload: value.to_le_bytes()[..len].to_vec(),
                        item: InFlight::Response { qpn, psn },
                        steadiness: Steadiness::Steady,
                    });
                }
            };
            let region = ledger.regions.get(&source.rkey.0);
            let Some(region) = region.filter(|region| source.len == 0 || !region.revoked) else {
                qp.protocol
                    .handle_response_failure(psn, NakCode::RemoteAccess);
                continue;
            };
            let message =
                &ledger.connections[region.connection].streams[region.side].messages[region.index];
            let offset = source.va - region.va;
            let payload = pattern::bytes(message.tag, offset as u32, source.len);
            return Some(Outgoing {
                body: Body::Response(response.header),
                payload,
                item: InFlight::Response { qpn, psn },
                steadiness: Steadiness::of(message, source.len, response.attempt),
            });
        };
        let psn = segment.header.psn;
        let message_index = qp.slots[&segment.source.slot];
        let stream = &ledger.connections[qp.connection].streams[qp.side];
        stream.assert_may_start(message_index);
        let message = &stream.messages[message_index];
        if message.fate == Fate::Fail(CompletionStatus::LocalProtectionError) {
            qp.protocol
                .handle_send_failure(segment.source.slot, CompletionStatus::LocalProtectionError);
            return None;
        }
        let source = segment.source;
        let payload = match segment.operands {
            Some(operands) => operands.to_bytes()[..segment.header.payload_len() as usize].to_vec(),
            None => pattern::bytes(message.tag, source.offset, source.len),
        };
        Some(Outgoing {
            body: Body::Request(segment.header),
            payload,
            item: InFlight::Request { qpn, psn },
            steadiness: Steadiness::of(message, source.len, segment.attempt()),
        })
    }

    /// What was sent over a rail did not arrive.
    pub fn lost(&mut self, rail: RailId, seq: RailSeq, item: InFlight) {
        if let InFlight::Unreliable { qpn } = item {
            return self.unreliable.lost(rail, seq, qpn);
        }
        if let Some(index) = item.qpn().and_then(|qpn| self.find(qpn)) {
            self.touch(index);
            let qp = &mut self.qps[index];
            qp.handed_back += u64::from(matches!(item, InFlight::Request { .. }));
            qp.protocol.handle_lost(item, rail, seq);
        }
        if let InFlight::Ack { qpn } = item {
            for peer in self.peers.values_mut() {
                if peer.final_acks.on_lost(qpn) == AckState::Due {
                    self.told.extend(peer.scheduler.notify(RailSet::ALL));
                }
            }
        }
    }

    /// An intact frame has arrived over `rail`.
    pub fn deliver(
        &mut self,
        rail: RailId,
        header: &Header,
        payload: &[u8],
        now: Instant,
        ledger: &mut Ledger,
    ) {
        if let Body::Unreliable(segment) = &header.body {
            let streams = &mut ledger.unreliable;
            return self.unreliable.deliver(rail, segment, payload, streams);
        }
        if let Body::UnreliableDatagram(header) = &header.body {
            self.port.receive(header, payload);
            return;
        }
        let placement = self.place(header, payload, now, ledger);
        self.commit(placement, payload, now, ledger);
    }

    /// Says where a payload goes.
    fn place(
        &mut self,
        header: &Header,
        payload: &[u8],
        now: Instant,
        ledger: &mut Ledger,
    ) -> Placement {
        match header.body {
            Body::Request(request) => {
                let Some(index) = self.find(request.dest_qpn) else {
                    return Placement::Discard;
                };
                self.touch(index);
                let ring = self.qps[index].ring;
                let qp = &mut self.qps[index];
                let life = qp.connection;
                let mut taker = Taker {
                    ring: &mut self.rings[ring],
                    taken: &mut qp.taken,
                };
                match qp.protocol.handle_request(&request, &mut taker) {
                    Disposition::Write {
                        va, rkey, token, ..
                    } => Placement::Write {
                        qp: index,
                        token,
                        rkey: rkey.0,
                        va,
                    },
                    Disposition::Receive {
                        slot,
                        offset,
                        token,
                        ..
                    } => Placement::Receive {
                        qp: index,
                        token,
                        slot,
                        offset,
                    },
                    Disposition::CheckRead {
                        va,
                        rkey,
                        len,
                        token,
                    } => {
                        let allowed = ledger.access(life, 1 - qp.side, rkey.0, va, len).is_some();
                        let outcome = if allowed {
                            Outcome::Placed
                        } else {
                            Outcome::Denied(NakCode::RemoteAccess)
                        };
                        qp.protocol.handle_payload(
                            PayloadToken::Request(token),
                            outcome,
                            &mut taker,
                            now,
                        );
                        if let Some(region) = ledger.regions.get_mut(&rkey.0) {
                            region.revoked |= region.revoke_when_checked;
                        }
                        Placement::Discard
                    }
                    Disposition::CheckExecution {
                        action,
                        va,
                        rkey,
                        token,
                    } => {
                        let (side, len) = (1 - qp.side, action.length());
                        let allowed = ledger.access(life, side, rkey.0, va, len).is_some();
                        let request_token = PayloadToken::Request(token);
                        match Operands::from_bytes(payload) {
                            _ if !allowed => qp.protocol.handle_payload(
                                request_token,
                                Outcome::Denied(NakCode::RemoteAccess),
                                &mut taker,
                                now,
                            ),
                            Some(operands) => {
                                qp.protocol.handle_operands(token, operands, &mut taker);
                            }
                            None => {
                                assert_eq!(action.opcode().operands_len(), 0);
                                qp.protocol.handle_payload(
                                    request_token,
                                    Outcome::Placed,
                                    &mut taker,
                                    now,
                                );
                            }
                        }
                        if let Some(region) = ledger.regions.get_mut(&rkey.0) {
                            region.revoked |= region.revoke_when_checked;
                        }
                        Placement::Discard
                    }
                    Disposition::Drop(DropReason::NotRunning) => {
                        qp.missed = true;
                        Placement::Discard
                    }
                    Disposition::NoPayload | Disposition::Drop(_) => Placement::Discard,
                }
            }
            Body::Response(response) => {
                let Some(index) = self.find(response.dest_qpn) else {
                    return Placement::Discard;
                };
                self.touch(index);
                let qp = &mut self.qps[index];
                match qp.protocol.handle_response(&response, now) {
                    ResponseDisposition::Place(placement) => Placement::Response {
                        qp: index,
                        token: placement.token,
                        target: placement.target,
                    },
                    ResponseDisposition::Empty | ResponseDisposition::Ignore(_) => {
                        Placement::Discard
                    }
                }
            }
            Body::Ack(ack) => {
                if let Some(index) = self.find(ack.dest_qpn) {
                    self.touch(index);
                    let qp = &mut self.qps[index];
                    qp.protocol.handle_ack(&ack, now);
                }
                Placement::Discard
            }
            Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => Placement::Discard,
        }
    }

    fn commit(&mut self, placement: Placement, data: &[u8], now: Instant, ledger: &mut Ledger) {
        match placement {
            Placement::Discard => {}
            Placement::Write {
                qp,
                token,
                rkey,
                va,
            } => {
                let life = (self.qps[qp].connection, 1 - self.qps[qp].side);
                let outcome = write(life, rkey, va, data, ledger);
                self.finish(qp, PayloadToken::Request(token), outcome, now);
            }
            Placement::Receive {
                qp,
                token,
                slot,
                offset,
            } => {
                let side = 1 - self.qps[qp].side;
                let ordinal = self.qps[qp].ordinal(slot);
                let connection = &mut ledger.connections[self.qps[qp].connection];
                let segment = connection.segment;
                let stream = &mut connection.streams[side];
                let message = &mut stream.messages[stream.consumers[ordinal]];
                message.place(offset, data, segment);
                self.finish(qp, PayloadToken::Request(token), Outcome::Placed, now);
            }
            Placement::Response { qp, token, target } => {
                let side = self.qps[qp].side;
                let index = self.qps[qp].slots[&target.slot];
                let connection = &mut ledger.connections[self.qps[qp].connection];
                let segment = connection.segment;
                let message = &mut connection.streams[side].messages[index];
                if message.opcode == Opcode::Read {
                    message.place(target.offset, data, segment);
                } else {
                    message.place_answer(data);
                }
                self.finish(qp, PayloadToken::Response(token), Outcome::Placed, now);
            }
        }
    }

    fn finish(&mut self, index: usize, token: PayloadToken, outcome: Outcome, now: Instant) {
        self.touch(index);
        let qp = &mut self.qps[index];
        let mut taker = Taker {
            ring: &mut self.rings[qp.ring],
            taken: &mut qp.taken,
        };
        qp.protocol.handle_payload(token, outcome, &mut taker, now);
    }

    /// Carries out everything whose turn has come. True if there was anything.
    fn execute(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let qp = &mut self.qps[index];
        let mut any = false;
        while let Some(execution) = qp.protocol.poll_execution() {
            any = true;
            let result = ledger.execute(qp.connection, 1 - qp.side, &execution);
            ledger.log.say(format_args!(
                "host {} qp {} {execution:?}: {result:?}",
                self.number,
                qp.qpn.get()
            ));
            let mut taker = Taker {
                ring: &mut self.rings[qp.ring],
                taken: &mut qp.taken,
            };
            qp.protocol
                .handle_execution(execution.token, result, &mut taker);
        }
        any
    }

    /// Polls and checks all completions and events of a queue pair. True if there was any.
    pub fn poll(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let mut any = false;
        if self.qps[index].is_destroyed {
            return false;
        }
        loop {
            let mut again = self.execute(index, ledger);
            let qp = &mut self.qps[index];
            // A queue pair is in the error state before the user sees anything flushed.
            while let Some(event) = qp.protocol.poll_event() {
                again = true;
                ledger.log.say(format_args!(
                    "host {} qp {} {event:?}",
                    self.number,
                    qp.qpn.get()
                ));
                match event {
                    QpEvent::CommunicationEstablished
                    | QpEvent::LastWqeReached
                    | QpEvent::SendQueueDrained => {}
                    QpEvent::SendFailed
                    | QpEvent::ReceiveFailed
                    | QpEvent::InvalidRequest
                    | QpEvent::AccessViolation
                    | QpEvent::Catastrophic => {
                        qp.in_error = true;
                        // Whose failure is not its own doing.
                        let victim = match event {
                            QpEvent::SendFailed => 1 - qp.side,
                            _ => qp.side,
                        };
                        ledger.connections[qp.connection].disturbed[victim] = true;
                        qp.protocol.flush();
                    }
                }
            }
            // A receive's completion comes before that of the send that caused it can be seen.
            while let Some(completion) = qp.protocol.poll_receive_completion() {
                again = true;
                ledger.log.say(format_args!(
                    "host {} qp {} {completion:?}",
                    self.number,
                    qp.qpn.get()
                ));
                self.rings[qp.ring].outstanding -= 1;
                let taken = qp.taken[qp.ended];
                qp.ended += 1;
                assert_eq!(
                    (taken.slot, taken.wr_id),
                    (completion.slot, completion.wr_id)
                );
                let stream = &mut ledger.connections[qp.connection].streams[1 - qp.side];
                if completion.status == CompletionStatus::FlushError {
                    assert!(qp.in_error, "flushed without an error");
                    continue;
                }
                let message = &mut stream.messages[stream.consumers[stream.received]];
                stream.received += 1;
                if completion.status == CompletionStatus::LocalLengthError {
                    assert!(message.length > taken.length);
                    continue;
                }
                assert_eq!(completion.status, CompletionStatus::Success);
                assert_eq!(completion.byte_len, message.length);
                assert_eq!(completion.opcode, message.opcode);
                if message.opcode.has_imm() {
                    assert_eq!(completion.imm, message.imm);
                }
                let solicited = completion.solicited == Solicitation::Solicited;
                assert_eq!(solicited, message.solicited);
                message.assert_whole();
                message.received = true;
            }
            while let Some(completion) = qp.protocol.poll_send_completion() {
                again = true;
                ledger.log.say(format_args!(
                    "host {} qp {} {completion:?}",
                    self.number,
                    qp.qpn.get()
                ));
                let connection = &mut ledger.connections[qp.connection];
                let disturbed = connection.disturbed[qp.side];
                let stream = &mut connection.streams[qp.side];
                let index = stream.completed;
                stream.completed += 1;
                assert_eq!(qp.slots.remove(&completion.slot), Some(index));
                assert_eq!(completion.wr_id, index as u64, "completions out of order");
                let message = &mut stream.messages[index];
                assert_eq!(completion.opcode, message.opcode);
                assert_eq!(completion.byte_len, message.length);
                let signalled = completion.signalling == Signalling::Signalled;
                assert_eq!(signalled, message.signalled);
                message.completed = Some(completion.status);
                match (stream.failed, completion.status) {
                    (None, CompletionStatus::Success) => {
                        let fails = matches!(message.fate, Fate::Fail(_));
                        assert!(!fails, "{:?} succeeded", message.opcode);
                        assert!(
                            !message.opcode.consumes_receive() || message.received,
                            "sender's completion before the receiver's"
                        );
                        message.assert_whole();
                    }
                    (None, status) => {
                        stream.failed = Some(status);
                        let expected =
                            [Fate::Fail(status), Fate::MayFail(status)].contains(&message.fate);
                        assert!(
                            expected || disturbed,
                            "message {index} failed: {status:?}, fate {:?}",
                            message.fate
                        );
                    }
                    (Some(_), status) => assert_eq!(status, CompletionStatus::FlushError),
                }
            }
            if !again {
                return any;
            }
            self.touched.insert(index);
            any = true;
        }
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

/// A piece of a WRITE of this life and side has arrived.
fn write(
    (life, side): (usize, usize),
    rkey: u32,
    va: u64,
    data: &[u8],
    ledger: &mut Ledger,
) -> Outcome {
    let segment = ledger.connections[life].segment;
    let Some((message, offset)) = ledger.access(life, side, rkey, va, data.len() as u32) else {
        return Outcome::Denied(NakCode::RemoteAccess);
    };
    message.place(offset, data, segment);
    if message.is_flag {
        let index = ledger.regions[&rkey].index;
        ledger.connections[life].streams[side].messages[index - 1].assert_whole();
    }
    Outcome::Placed
}
