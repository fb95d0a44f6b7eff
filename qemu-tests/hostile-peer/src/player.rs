// SPDX-License-Identifier: GPL-2.0

//! Queue pairs at this end: the module's own requesters and responders, which are honest, and a pen that is not.

use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::connection::Connection;
use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::connection::PayloadToken;
use usb4_roce::transport::connection::Segment;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

use crate::checksum::HostHash;
use crate::heap::table;
use crate::heap::Heap;
use crate::lie::field;
use crate::lie::near;
use crate::lie::Lie;
use crate::link::Client;
use crate::link::Sender;
use crate::target::Region;
use crate::target::Rights;
use crate::target::Target;
use crate::target::Victim;

/// PSNs that may be outstanding: as many as the module's.
const WINDOW: usize = 256;

/// Requests of a queue pair at a time.
const DEPTH: usize = 16;

/// READs of a queue pair at a time.
const READS: u8 = 16;

/// The longest request.
const LONGEST: u32 = 200_000;

/// The longest message that the victim has a receive for.
const LONGEST_MESSAGE: u32 = 3_900;

/// Bytes of every receive.
const RECEIVE_LEN: u32 = 1 << 20;

/// In a SEND of the victim: the key and the address of a region that it is about to take away.
const NEWS_LEN: usize = 16;

/// Bytes of the region that a SEND tells of.
const NEWS_REGION: u32 = 16 << 10;

/// One byte less than an Ethernet header has.
const RUNT: [u8; 13] = [0xff; 13];

/// A broadcast of ARP's that says nothing, from nobody yet. What no protocol takes would be counted as dropped by the
/// network stack.
const ETHERNET: [u8; 64] = {
    let mut frame = [0; 64];
    let mut at = 0;
    while at < 6 {
        frame[at] = 0xff;
        at += 1;
    }
    frame[12] = 0x08;
    frame[13] = 0x06;
    frame
};

/// Frames that are kept for being sent once more.
const MEMORY: usize = 64;

/// How honest the players are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    /// They keep to the rules.
    Honest,
    /// One frame in so many is a lie.
    OneLieIn(u32),
}

/// Receives without end.
struct Receives(u16);

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        self.0 = self.0.wrapping_add(1);
        Some(Receive {
            slot: ReceiveSlot(self.0),
            wr_id: 0,
            length: RECEIVE_LEN,
            soundness: Soundness::Sound,
        })
    }
}

/// The only rail.
struct OneRail;

impl Rails for OneRail {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        FrameStatus::Settled
    }

    fn up(&self) -> RailSet {
        RailSet::ALL
    }
}

struct Player {
    target: Target,
    connection: Connection<Heap>,
    receives: Receives,
    /// Serial number of the next complaint that is made up.
    serial: u32,
}

impl Player {
    fn new(target: Target) -> Option<Self> {
        let requester = RequesterTables {
            messages: table(DEPTH),
            segments: table(WINDOW),
            reads: table(usize::from(READS)),
        };
        let responder = ResponderTables {
            requests: table(WINDOW),
            receives: table(WINDOW),
            reads: table(WINDOW),
            responses: table(WINDOW),
        };
        let mut player = Self {
            target,
            connection: Connection::new(requester, responder).ok()?,
            receives: Receives(0),
            serial: 0,
        };
        player.start();
        Some(player)
    }

    fn start(&mut self) {
        let (local_qpn, remote_qpn) = (Qpn::new(self.target.peer_qpn), Qpn::new(self.target.qpn));
        let initial_psn = Psn::new(self.target.psn);
        self.connection.start_requester(RequesterConfig {
            local_qpn,
            remote_qpn,
            initial_psn,
            segment: SegmentSize::LARGEST,
            window: WINDOW as u16,
            max_rd_atomic: READS,
            timeout: AckTimeout::new(14),
            retry: RetryLimit::from_retry_count(7),
            rnr_retry: RetryLimit::from_rnr_retry(7),
        });
        self.connection.start_responder(ResponderConfig {
            local_qpn,
            remote_qpn,
            initial_psn,
            window: WINDOW as u16,
            max_dest_rd_atomic: READS,
            rnr_timer: RnrTimer::new(1),
        });
        self.connection.handle_limits(&Limits {
            max_payload: MAX_PAYLOAD,
            window: WINDOW as u16,
            max_rd_atomic: READS,
        });
        self.serial = 0;
    }

    /// The next honest frame.
    fn next(&mut self, seq: RailSeq, now: Instant) -> Option<(Body, Vec<u8>, InFlight)> {
        let rail = RailId::new(0)?;
        let qpn = Qpn::new(self.target.peer_qpn);
        if let Some(ack) = self.connection.poll_ack() {
            return Some((Body::Ack(ack), Vec::new(), InFlight::Ack { qpn }));
        }
        let slot = FrameSlot {
            rail,
            seq,
            room: MAX_PAYLOAD,
        };
        Some(match self.connection.poll_segment(slot, now, &OneRail)? {
            Segment::Response(response) => {
                let psn = response.header.response_psn;
                let payload = vec![0x5a; response.header.extent.len() as usize];
                let item = InFlight::Response { qpn, psn };
                (Body::Response(response.header), payload, item)
            }
            Segment::Request(segment) => {
                let psn = segment.header.psn;
                let payload = vec![0xa5; segment.header.payload_len() as usize];
                let item = InFlight::Request { qpn, psn };
                (Body::Request(segment.header), payload, item)
            }
        })
    }

    fn arrive(&mut self, header: &Header, payload: &[u8], now: Instant) -> Option<Region> {
        let mut news = None;
        match &header.body {
            Body::Request(request) => {
                let first = Psn::new(self.target.psn);
                let next = self.connection.expected_psn().unwrap_or(first);
                let done = next.distance_from(first);
                // The first request is repeated only as long as it may be outstanding.
                let began_anew = request.psn == first
                    && request.flags.contains(SegmentFlags::FIRST)
                    && (!request.flags.contains(SegmentFlags::REPEAT) || done > WINDOW as u32)
                    && done > 0;
                if began_anew {
                    self.start();
                }
                match self.connection.handle_request(request, &mut self.receives) {
                    Disposition::Write { token, .. }
                    | Disposition::Receive { token, .. }
                    | Disposition::CheckRead { token, .. }
                    | Disposition::CheckExecution { token, .. } => {
                        let token = PayloadToken::Request(token);
                        self.place(token, now);
                    }
                    Disposition::NoPayload | Disposition::Drop(_) => {}
                }
                if matches!(request.operation, Operation::Send { .. }) {
                    news = region_of(payload);
                }
            }
            Body::Response(response) => {
                if let ResponseDisposition::Place(placement) =
                    self.connection.handle_response(response, now)
                {
                    self.place(PayloadToken::Response(placement.token), now);
                }
            }
            Body::Ack(ack) => {
                self.connection.handle_ack(ack, now);
            }
            Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => {}
        }
        news
    }

    /// A payload has been placed, as it were.
    fn place(&mut self, token: PayloadToken, now: Instant) {
        self.connection
            .handle_payload(token, Outcome::Placed, &mut self.receives, now);
        while let Some(execution) = self.connection.poll_execution() {
            self.connection
                .handle_execution(execution.token, Ok(0), &mut self.receives);
        }
    }

    /// Collects completions, and begins anew after an error. Says how many requests were successful.
    fn settle(&mut self, now: Instant) -> u64 {
        self.connection.handle_timeout(now, &OneRail);
        let mut good = 0;
        let mut failed = false;
        while let Some(completion) = self.connection.poll_send_completion() {
            good += u64::from(completion.status == CompletionStatus::Success);
            failed |= completion.status != CompletionStatus::Success;
        }
        while self.connection.poll_receive_completion().is_some() {}
        while let Some(event) = self.connection.poll_event() {
            failed |= match event {
                QpEvent::SendFailed
                | QpEvent::ReceiveFailed
                | QpEvent::InvalidRequest
                | QpEvent::AccessViolation
                | QpEvent::Catastrophic => true,
                QpEvent::CommunicationEstablished
                | QpEvent::SendQueueDrained
                | QpEvent::LastWqeReached => false,
            };
        }
        if failed {
            self.start();
        }
        good
    }
}

/// The region that a SEND tells of.
fn region_of(payload: &[u8]) -> Option<Region> {
    let news: &[u8; NEWS_LEN] = payload.get(..NEWS_LEN)?.try_into().ok()?;
    let (address, rest) = news.split_first_chunk::<8>()?;
    let (key, _) = rest.split_first_chunk::<4>()?;
    Some(Region {
        key: u32::from_le_bytes(*key),
        address: u64::from_le_bytes(*address),
        length: NEWS_REGION,
        rights: Rights::Write,
    })
}

/// A frame that was sent before.
struct Remembered {
    header: Lie,
    payload: Vec<u8>,
}

/// All players, and the pen.
pub struct Players {
    players: Vec<Player>,
    victim: Victim,
    /// The region that the victim has told of last, and the one before, which is gone.
    news: Vec<Region>,
    rng: ChaCha8Rng,
    honesty: Honesty,
    turn: usize,
    memory: Vec<Remembered>,
    /// Requests that were successful, and lies that were told.
    pub good: u64,
    pub lies: u64,
}

impl Players {
    /// One player for each of the victim's queue pairs.
    pub fn new(victim: Victim, rng: ChaCha8Rng) -> Self {
        let players = victim.queue_pairs.iter().copied();
        Self {
            players: players.filter_map(Player::new).collect(),
            victim,
            news: Vec::new(),
            rng,
            honesty: Honesty::Honest,
            turn: 0,
            memory: Vec::new(),
            good: 0,
            lies: 0,
        }
    }

    /// From now on they are so honest, and play by this chance.
    pub fn set(&mut self, honesty: Honesty, rng: ChaCha8Rng) {
        self.honesty = honesty;
        self.rng = rng;
    }

    /// The victim.
    pub fn victim(&self) -> &Victim {
        &self.victim
    }

    /// Keeps their queues filled, and deals with what has completed.
    pub fn settle(&mut self, now: Instant) {
        for index in 0..self.players.len() {
            self.good += self.players[index].settle(now);
            while self.players[index].connection.room() > 0 {
                let request = self.request();
                if self.players[index].connection.post(request, now).is_err() {
                    break;
                }
            }
        }
    }

    fn request(&mut self) -> SendRequest {
        let rng = &mut self.rng;
        let lies = self.honesty != Honesty::Honest && rng.random_ratio(1, 20);
        let regions = self.victim.regions.iter().chain(&self.news);
        let mut known: Vec<Region> = regions.copied().collect();
        let opcode = match rng.random_range(0..6) {
            0 => Opcode::Send,
            1 => Opcode::SendWithImm,
            2 => Opcode::WriteWithImm,
            3 => Opcode::Read,
            _ => Opcode::Write,
        };
        if !lies {
            known.retain(|region| match opcode {
                Opcode::Read => region.rights != Rights::None,
                Opcode::Send
                | Opcode::SendWithImm
                | Opcode::Write
                | Opcode::WriteWithImm
                | Opcode::CompareSwap
                | Opcode::FetchAdd
                | Opcode::AtomicWrite
                | Opcode::Flush => region.rights == Rights::Write,
            });
            // Those that come and go are for lies.
            known.retain(|region| !self.news.iter().any(|news| news.key == region.key));
        }
        let Some(region) = known.choose(rng) else {
            return SendRequest::default();
        };
        let most = if rng.random_ratio(1, 8) {
            LONGEST
        } else {
            5_000
        };
        let length = rng.random_range(0..most.min(region.length));
        let (remote_va, rkey) = if lies {
            (
                near(rng, region.address, region.length.into()),
                region.key.wrapping_add(rng.random_range(0..2)),
            )
        } else {
            let room = u64::from(region.length - length);
            (region.address + rng.random_range(0..=room), region.key)
        };
        SendRequest {
            opcode,
            // The victim's receives are no longer.
            length: if opcode.consumes_receive() {
                length.min(LONGEST_MESSAGE)
            } else {
                length
            },
            remote_va,
            rkey: Rkey(rkey),
            imm: rng.random(),
            signalling: Signalling::Signalled,
            ..SendRequest::default()
        }
    }

    /// Puts an honest frame into the stream, or what is made of it.
    fn put(&mut self, sender: &mut Sender<'_>, body: Body, payload: &[u8], item: InFlight) {
        let Some(seed) = sender.seed() else { return };
        let Some(header) = sender.stamp(body, payload, item) else {
            return;
        };
        let mut lie = Lie(header.encode::<HostHash>(seed));
        let lies = match self.honesty {
            Honesty::Honest => false,
            Honesty::OneLieIn(count) => self.rng.random_ratio(1, count.max(1)),
        };
        if self.memory.len() < MEMORY {
            self.memory.push(Remembered {
                header: lie,
                payload: payload.to_vec(),
            });
        } else {
            let place = self.rng.random_range(0..MEMORY);
            self.memory[place].header = lie;
            self.memory[place].payload = payload.to_vec();
        }
        if !lies {
            sender.put(&lie.0, payload);
            return;
        }
        self.lies += 1;
        let rng = &mut self.rng;
        match rng.random_range(0..8) {
            // Lost, as far as the other end can tell.
            0 => {}
            1 => {
                sender.put(&lie.0, payload);
                sender.put(&lie.0, payload);
            }
            // Another length, which the checksum confirms.
            2 | 3 => {
                let len = match rng.random_range(0..4) {
                    0 => 0,
                    1 => payload.len() + 1,
                    2 => payload.len().saturating_sub(1),
                    _ => rng.random_range(0..=MAX_PAYLOAD as usize),
                };
                let other = vec![0xc3; len.min(MAX_PAYLOAD as usize)];
                put_lie(sender, &mut lie, &other);
            }
            4 => {
                lie.set(field::PAYLOAD_CHECKSUM, rng.random());
                lie.sign(seed);
                sender.put(&lie.0, payload);
            }
            _ => {
                lie.bend(rng);
                let payload = crate::lie::payload(rng, lie.get(field::PAYLOAD_LEN));
                put_lie(sender, &mut lie, &payload);
            }
        }
    }

    /// Sends an old frame as a new one.
    pub fn repeat(&mut self, sender: &mut Sender<'_>) {
        let Some(old) = self.memory.choose(&mut self.rng) else {
            return;
        };
        let (mut lie, payload) = (old.header, old.payload.clone());
        if renumber(sender, &mut lie) {
            put_lie(sender, &mut lie, &payload);
            self.lies += 1;
        }
    }

    /// Sends something that nobody has asked for, under the next number.
    pub fn wild(&mut self, sender: &mut Sender<'_>) {
        let zero = RailSeq(0);
        let mut lie = Lie::wild(&mut self.rng, &self.victim, zero, zero);
        if renumber(sender, &mut lie) {
            let payload = crate::lie::payload(&mut self.rng, lie.get(field::PAYLOAD_LEN));
            put_lie(sender, &mut lie, &payload);
            self.lies += 1;
        }
    }

    /// Sends an Ethernet frame without an Ethernet header.
    pub fn runt(&mut self, sender: &mut Sender<'_>) {
        self.datagram(sender, &RUNT);
    }

    /// Sends an Ethernet frame to everybody from the host with that address.
    pub fn ethernet(&mut self, source: [u8; 6], sender: &mut Sender<'_>) {
        let mut frame = ETHERNET;
        frame[6..12].copy_from_slice(&source);
        self.datagram(sender, &frame);
    }

    /// Sends an Ethernet frame from the host with that address, and says what is left to do to it, some of which cannot be.
    pub fn unfinished(&mut self, source: [u8; 6], sender: &mut Sender<'_>) {
        let Some(host) = sender.peer().map(|host| host.mac) else {
            return;
        };
        let packet = crate::packet::bent(&mut self.rng, source, host);
        let zero = RailSeq(0);
        let mut lie = Lie::datagram(&mut self.rng, zero, zero);
        if renumber(sender, &mut lie) {
            put_lie(sender, &mut lie, &packet);
            self.lies += 1;
        }
    }

    fn datagram(&mut self, sender: &mut Sender<'_>, frame: &[u8]) {
        let Some(seed) = sender.seed() else { return };
        if let Some(header) = sender.stamp(
            Body::Datagram(PacketState::Finished),
            frame,
            InFlight::Datagram,
        ) {
            sender.put(&header.encode::<HostHash>(seed), frame);
            self.lies += 1;
        }
    }

    /// Complains about one of the victim's queue pairs.
    pub fn complain(&mut self, sender: &mut Sender<'_>) {
        let rng = &mut self.rng;
        let Some(index) = (0..self.players.len())
            .collect::<Vec<_>>()
            .choose(rng)
            .copied()
        else {
            return;
        };
        let player = &mut self.players[index];
        player.serial = player.serial.wrapping_add(rng.random_range(0..3));
        let near = |rng: &mut ChaCha8Rng, psn: Psn| {
            if rng.random_ratio(3, 4) {
                psn
            } else {
                psn.add(rng.random_range(0..300)).add(Psn::MASK - 20)
            }
        };
        let first = Psn::new(player.target.psn);
        let psn = near(rng, player.connection.expected_psn().unwrap_or(first));
        let syndrome = match rng.random_range(0..16) {
            0..=5 => Syndrome::SequenceNak,
            6..=9 => Syndrome::RnrNak(RnrTimer::new(rng.random_range(0..8))),
            10 => Syndrome::Nak(NakCode::RemoteAccess),
            11 => Syndrome::ReadNak {
                psn,
                code: NakCode::RemoteOperation,
            },
            _ => Syndrome::Ack,
        };
        let ack = AckHeader {
            dest_qpn: Qpn::new(player.target.qpn),
            src_qpn: Qpn::new(player.target.peer_qpn),
            psn,
            response_psn: near(rng, Psn::new(player.target.psn)),
            syndrome,
            nak_serial: NakSerial(player.serial),
        };
        let Some(seed) = sender.seed() else { return };
        if let Some(header) = sender.stamp(Body::Ack(ack), &[], InFlight::Datagram) {
            sender.put(&header.encode::<HostHash>(seed), &[]);
            self.lies += 1;
        }
    }
}

/// Gives a frame the next number.
fn renumber(sender: &mut Sender<'_>, lie: &mut Lie) -> bool {
    let Some(header) = sender.stamp(
        Body::Datagram(PacketState::Finished),
        &[],
        InFlight::Datagram,
    ) else {
        return false;
    };
    lie.set(field::SEQ, header.seq.0.into());
    lie.set(field::ACK, header.ack.0.into());
    true
}

/// Sends a frame whose length and checksums are right.
fn put_lie(sender: &mut Sender<'_>, lie: &mut Lie, payload: &[u8]) {
    let Some(seed) = sender.seed() else { return };
    let checksum = seed.checksum::<HostHash>(payload);
    if lie.get(field::PAYLOAD_LEN) <= u64::from(MAX_PAYLOAD) {
        lie.set(field::PAYLOAD_LEN, payload.len() as u64);
    }
    lie.set(field::PAYLOAD_CHECKSUM, checksum.into());
    lie.sign(seed);
    sender.put(&lie.0, payload);
}

impl Client for Players {
    fn arrive(&mut self, header: &Header, payload: &[u8], now: Instant) {
        let destination = match &header.body {
            Body::Request(header) => header.dest_qpn,
            Body::Response(header) => header.dest_qpn,
            Body::Ack(header) => header.dest_qpn,
            Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => {
                return;
            }
        };
        let player = self
            .players
            .iter_mut()
            .find(|player| player.target.peer_qpn == destination.get());
        let Some(player) = player else { return };
        if let Some(region) = player.arrive(header, payload, now) {
            if self.news.last().is_none_or(|last| last.key != region.key) {
                self.news.push(region);
            }
            if self.news.len() > 2 {
                self.news.remove(0);
            }
        }
    }

    fn lost(&mut self, seq: RailSeq, item: InFlight) {
        let Some(rail) = RailId::new(0) else { return };
        let (InFlight::Request { qpn, .. }
        | InFlight::Response { qpn, .. }
        | InFlight::Ack { qpn }) = item
        else {
            return;
        };
        let player = self
            .players
            .iter_mut()
            .find(|player| player.target.peer_qpn == qpn.get());
        let Some(player) = player else { return };
        player.connection.handle_lost(item, rail, seq);
    }

    fn next(&mut self, sender: &mut Sender<'_>) -> bool {
        let count = self.players.len();
        for _ in 0..count {
            self.turn = (self.turn + 1) % count;
            let (seq, now) = (sender.next_seq(), sender.now());
            if let Some((body, payload, item)) = self.players[self.turn].next(seq, now) {
                self.put(sender, body, &payload, item);
                return true;
            }
        }
        false
    }
}
