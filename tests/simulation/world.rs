// SPDX-License-Identifier: GPL-2.0

//! Hosts, cables and time; the random program that runs on them, and the checks at its end.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;
use usb4_roce::transport::rail::tx::Delivery;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::Reachability;
use usb4_roce::transport::requester::Requester;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::responder::Responder;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

use crate::cable::Cable;
use crate::cable::CableConfig;
use crate::driver::Driver;
use crate::driver::Surroundings;
use crate::heap::table;
use crate::host::Host;
use crate::host::QueuePair;
use crate::host::ReceiveRing;
use crate::ledger::Connection;
use crate::ledger::Fate;
use crate::ledger::Ledger;
use crate::ledger::Message;

/// Faults happen until this time.
const SAFETY_PHASE: Instant = Instant(3_000_000_000);

/// All must be done by this time.
const END: Instant = Instant(60_000_000_000);

/// Size of receive buffers.
const RECEIVE_LEN: u32 = 192 * 1024;

/// What a connection is put through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ordeal {
    /// Only the cables'.
    None,
    /// A message that must fail with this status.
    Poison(Poison),
    /// One end is flushed at some time.
    Flush,
    /// Both ends are reset at some time and connected anew.
    Reset,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Poison {
    WriteKey,
    ReadKey,
    RevokedRead,
    LongSend,
    LocalBuffer,
    NoReceives,
}

/// One direction's user.
struct Sender {
    left: u32,
    next_at: Instant,
    poison_at: Option<u32>,
    /// A flag is to be written next.
    flag_due: bool,
}

/// A pair of queue pairs and its users.
struct Pair {
    ends: [(usize, usize); 2],
    config: PairConfig,
    ordeal: Ordeal,
    ordeal_at: Instant,
    senders: [Sender; 2],
    life: usize,
    /// Responders that are started late: when, and how.
    late: [Option<(Instant, ResponderConfig)>; 2],
}

/// What a run has gone through, to see that the runs together cover what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub repeated_segments: u64,
    pub repeated_responses: u64,
    pub duplicates: u64,
    pub timeouts: u64,
    pub rnr_naks: u64,
    pub sequence_naks: u64,
    pub reopened_rails: u64,
    pub skipped_headers: u64,
    pub failed_streams: u64,
    pub messages: u64,
}

impl Coverage {
    /// Adds up two runs.
    pub fn add(&mut self, other: &Self) {
        self.repeated_segments += other.repeated_segments;
        self.repeated_responses += other.repeated_responses;
        self.duplicates += other.duplicates;
        self.timeouts += other.timeouts;
        self.rnr_naks += other.rnr_naks;
        self.sequence_naks += other.sequence_naks;
        self.reopened_rails += other.reopened_rails;
        self.skipped_headers += other.skipped_headers;
        self.failed_streams += other.failed_streams;
        self.messages += other.messages;
    }
}

#[derive(Clone, Debug)]
struct PairConfig {
    segment: u32,
    window: u16,
    rd_atomic: u8,
    depth: usize,
    rnr_retry: u8,
    largest: u32,
}

/// A receive queue's user.
struct Receiver {
    host: usize,
    ring: usize,
    next_at: Instant,
    /// Posts nothing any more.
    is_starving: bool,
}

struct View<'a> {
    drivers: &'a [Driver],
    peer: usize,
}

impl Rails for View<'_> {
    fn delivery(&self, rail: RailId, seq: RailSeq) -> Delivery {
        self.drivers
            .iter()
            .find(|driver| driver.rail == rail)
            .map_or(Delivery::Settled, |driver| driver.endpoint.delivery(seq))
    }

    fn reachability(&self) -> Reachability {
        let up = self
            .drivers
            .iter()
            .any(|driver| driver.peer == self.peer && driver.endpoint.is_up());
        if up {
            Reachability::Reachable
        } else {
            Reachability::Unreachable
        }
    }
}

pub struct World {
    seed: u64,
    rng: ChaCha8Rng,
    now: Instant,
    hosts: Vec<Host>,
    drivers: Vec<Vec<Driver>>,
    cables: Vec<Cable>,
    ledger: Ledger,
    pairs: Vec<Pair>,
    receivers: Vec<Receiver>,
    /// The shared receive queue of each host.
    shared_rings: Vec<Option<usize>>,
    next_fault: Instant,
    replug: Vec<(Instant, usize)>,
    healed: bool,
    /// Nothing worse happens than bit errors.
    tame: bool,
    pub trace: bool,
}

fn identity(host: usize) -> Identity {
    Identity {
        node_guid: NodeGuid(host as u64 + 1),
        mac: [2, 0, 0, 0, 0, host as u8],
        features: Features(0),
        max_payload: MAX_PAYLOAD,
        window: 256,
        name: [0; NODE_NAME_LEN],
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let host_count = if rng.random_range(0..4) == 0 {
            rng.random_range(3..=4)
        } else {
            2
        };
        let mut world = Self {
            seed,
            now: Instant(0),
            hosts: (0..host_count).map(|_| Host::new()).collect(),
            drivers: (0..host_count).map(|_| Vec::new()).collect(),
            cables: Vec::new(),
            ledger: Ledger::default(),
            pairs: Vec::new(),
            receivers: Vec::new(),
            shared_rings: vec![None; host_count],
            next_fault: Instant(match rng.random_range(0..4) {
                0 => SAFETY_PHASE.0,
                _ => rng.random_range(0..SAFETY_PHASE.0 / 2),
            }),
            replug: Vec::new(),
            healed: false,
            tame: false,
            trace: false,
            rng,
        };
        world.tame = world.rng.random_range(0..4) == 0;
        if world.tame {
            world.next_fault = SAFETY_PHASE;
        }
        world.lay_cables();
        let pairs = world.rng.random_range(1..=4);
        for _ in 0..pairs {
            world.add_pair();
        }
        world
    }

    fn lay_cables(&mut self) {
        let tame = self.tame;
        let rng = &mut self.rng;
        let hosts = self.hosts.len();
        let clean = rng.random_range(0..5) == 0;
        for one in 0..hosts {
            for other in one + 1..hosts {
                let rails = rng.random_range(1..=if hosts == 2 { 4 } else { 2 });
                for _ in 0..rails {
                    let rate = |rng: &mut ChaCha8Rng, most: u32| match rng.random_range(0..3) {
                        0 => 0,
                        1 => most / 10,
                        _ => most,
                    };
                    let loss = rate(rng, 30_000);
                    let corruption = rate(rng, 30_000);
                    let config = CableConfig {
                        bandwidth: [100, 500, 1000, 5000][rng.random_range(0..4)],
                        latency: Duration::from_micros([1, 10, 100, 1000][rng.random_range(0..4)]),
                        depth: [4, 32, 256][rng.random_range(0..3)],
                        loss: if clean || tame { 0 } else { loss },
                        corruption: if clean { 0 } else { corruption },
                        short_io: rate(rng, 200_000),
                        lag: if clean || tame { 0 } else { rate(rng, 300_000) },
                        lost_eof: if clean { 0 } else { rate(rng, 500_000) },
                    };
                    let cable = self.cables.len();
                    self.cables.push(Cable::new(config));
                    let entries = [16, 64, 1024][rng.random_range(0..3)];
                    let bytes = [100_000, 1_000_000, 16_000_000][rng.random_range(0..3)];
                    for (end, (me, peer)) in [(one, other), (other, one)].into_iter().enumerate() {
                        let rail = RailId::new(self.drivers[me].len() as u8).unwrap();
                        let mut driver =
                            Driver::new(identity(me), rail, cable, end, peer, entries, bytes);
                        driver.run_at = Instant(rng.random_range(0..20_000_000));
                        self.drivers[me].push(driver);
                    }
                }
            }
        }
    }

    fn add_pair(&mut self) {
        let rng = &mut self.rng;
        let one = rng.random_range(0..self.hosts.len());
        let other = (one + rng.random_range(1..self.hosts.len())) % self.hosts.len();
        let ordeal = match rng.random_range(0..14) {
            7 => Ordeal::Poison(Poison::RevokedRead),
            0 => Ordeal::Poison(Poison::WriteKey),
            1 => Ordeal::Poison(Poison::ReadKey),
            2 => Ordeal::Poison(Poison::LongSend),
            3 => Ordeal::Poison(Poison::LocalBuffer),
            4 => Ordeal::Poison(Poison::NoReceives),
            5 => Ordeal::Flush,
            6 => Ordeal::Reset,
            _ => Ordeal::None,
        };
        let segment = [SMALL_PAYLOAD, 16 * 1024, MAX_PAYLOAD][rng.random_range(0..3)];
        let config = PairConfig {
            segment,
            window: [8, 16, 64, 256][rng.random_range(0..4)],
            rd_atomic: [1, 2, 4, 16][rng.random_range(0..4)],
            depth: [4, 16, 64][rng.random_range(0..3)],
            rnr_retry: match ordeal {
                Ordeal::Poison(Poison::NoReceives) => 3,
                _ => 7,
            },
            largest: [64, 5000, 150_000][rng.random_range(0..3)],
        };
        let sender = |rng: &mut ChaCha8Rng| {
            let left = rng.random_range(10..80);
            Sender {
                left,
                next_at: Instant(rng.random_range(0..SAFETY_PHASE.0 / 8)),
                poison_at: None,
                flag_due: false,
            }
        };
        let mut senders = [sender(rng), sender(rng)];
        if let Ordeal::Poison(_) = ordeal {
            senders[0].poison_at = Some(rng.random_range(0..senders[0].left));
        }
        let ordeal_at = Instant(rng.random_range(0..SAFETY_PHASE.0));
        let starves = ordeal == Ordeal::Poison(Poison::NoReceives);
        let shared = rng.random_range(0..4) == 0 && !starves;
        let mut ends = [(0, 0); 2];
        for (side, (me, peer)) in [(one, other), (other, one)].into_iter().enumerate() {
            let known = self.shared_rings[me].filter(|_| shared);
            let ring = if let Some(ring) = known {
                ring
            } else {
                let ring = self.hosts[me].rings.len();
                self.hosts[me].rings.push(ReceiveRing::default());
                self.receivers.push(Receiver {
                    host: me,
                    ring,
                    next_at: Instant(0),
                    is_starving: false,
                });
                if shared {
                    self.shared_rings[me] = Some(ring);
                }
                ring
            };
            let window = usize::from(config.window);
            let requester = Requester::new(RequesterTables {
                messages: table(config.depth),
                segments: table(window),
                reads: table(usize::from(config.rd_atomic)),
            });
            let responder = Responder::new(ResponderTables {
                requests: table(window),
                receives: table(window),
                reads: table(usize::from(config.rd_atomic)),
                responses: table(window),
            });
            let host = &mut self.hosts[me];
            let qpn = Qpn::new(100 + host.qps.len() as u32);
            ends[side] = (me, host.qps.len());
            host.qps.push(QueuePair::new(
                qpn,
                peer,
                ring,
                requester.unwrap(),
                responder.unwrap(),
            ));
        }
        self.pairs.push(Pair {
            ends,
            config,
            ordeal,
            ordeal_at,
            senders,
            life: 0,
            late: [None; 2],
        });
        self.connect(self.pairs.len() - 1);
    }

    /// Connects a pair for the first time, or anew.
    fn connect(&mut self, pair: usize) {
        let life = self.ledger.connections.len();
        let pair = &mut self.pairs[pair];
        pair.life = life;
        self.ledger.connections.push(Connection {
            segment: pair.config.segment,
            // With few RNR retries a slow receiver may be enough to fail any message.
            disturbed: [pair.config.rnr_retry < 7; 2],
            ..Connection::default()
        });
        let psns = [0, 1].map(|_| match self.rng.random_range(0..3) {
            0 => Psn::new(Psn::MASK - self.rng.random_range(0..20)),
            _ => Psn::new(self.rng.random()),
        });
        let qpns = pair.ends.map(|(host, qp)| self.hosts[host].qps[qp].qpn);
        for side in 0..2 {
            pair.senders[side].flag_due = false;
            let (host, qp) = pair.ends[side];
            let qp = &mut self.hosts[host].qps[qp];
            qp.begin(life, side);
            let config = ResponderConfig {
                local_qpn: qpns[side],
                remote_qpn: qpns[1 - side],
                initial_psn: psns[1 - side],
                window: pair.config.window,
                max_dest_rd_atomic: pair.config.rd_atomic,
                rnr_timer: RnrTimer::new(self.rng.random_range(1..16)),
            };
            pair.late[side] = if !self.tame && self.rng.random_range(0..4) == 0 {
                let delay = Duration::from_millis(self.rng.random_range(1..1500));
                Some((self.now.after(delay), config))
            } else {
                qp.responder.start(config);
                None
            };
            qp.requester.start(RequesterConfig {
                local_qpn: qpns[side],
                remote_qpn: qpns[1 - side],
                initial_psn: psns[side],
                segment: pair.config.segment,
                window: pair.config.window,
                max_rd_atomic: pair.config.rd_atomic,
                timeout: AckTimeout::new(17),
                retry: RetryLimit::from_retry_count(7),
                rnr_retry: RetryLimit::from_rnr_retry(pair.config.rnr_retry),
            });
        }
    }

    /// Runs until all is done.
    pub fn run(&mut self) -> Coverage {
        let mut rounds = 0u64;
        while self.now < END {
            rounds += 1;
            assert!(
                rounds < 3_000_000,
                "seed {}: no end in sight at {:?}",
                self.seed,
                self.now
            );
            let busy = self.act();
            if self.is_done() {
                self.check_end();
                return self.coverage();
            }
            if !busy {
                let Some(next) = self.next_event() else {
                    break;
                };
                assert!(next > self.now, "time stands still");
                self.now = next;
            }
        }
        panic!("seed {}: not done in time: {}", self.seed, self.describe());
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            let connection = &self.ledger.connections[pair.life];
            for side in 0..2 {
                let (host, qp) = pair.ends[side];
                let qp = &self.hosts[host].qps[qp];
                let stream = &connection.streams[side];
                text += &format!(
                    "\n{:?} side {side}: left {} posted {} completed {} received {} failed {:?} {:?} {:?} deadline {:?} next {:?} ring {}",
                    pair.ordeal,
                    pair.senders[side].left,
                    stream.messages.len(),
                    stream.completed,
                    stream.received,
                    stream.failed,
                    qp.requester.counters(),
                    qp.responder.counters(),
                    qp.requester.deadline(),
                    stream.messages.get(stream.completed).map(|m| (m.opcode, m.length, m.placed_bytes)),
                    self.hosts[host].rings[qp.ring].len(),
                );
            }
        }
        for drivers in &self.drivers {
            for driver in drivers {
                text += &format!(
                    "\nrail {:?} up {} opened {}",
                    driver.rail,
                    driver.endpoint.is_up(),
                    driver.opened
                );
            }
        }
        text
    }

    /// One round at the present time; true if anything moved.
    fn act(&mut self) -> bool {
        let mut busy = self.faults();
        let hosts = self.hosts.len();
        let first = self.rng.random_range(0..hosts);
        for host in (0..hosts).map(|step| (first + step) % hosts) {
            for index in 0..self.drivers[host].len() {
                busy |= self.run_driver(host, index);
            }
            busy |= self.timers(host);
        }
        busy |= self.users();
        busy
    }

    fn run_driver(&mut self, host: usize, index: usize) -> bool {
        let driver = &mut self.drivers[host][index];
        if self.now < driver.run_at {
            return false;
        }
        let mut around = Surroundings {
            cable: &mut self.cables[driver.cable],
            host: &mut self.hosts[host],
            ledger: &mut self.ledger,
            rng: &mut self.rng,
            now: self.now,
        };
        let moved = driver.step(&mut around);
        if moved {
            let pause = if self.rng.random_range(0..50) == 0 {
                500_000
            } else {
                10_000
            };
            driver.run_at = self.now.after(Duration(self.rng.random_range(1..pause)));
            for qp in 0..self.hosts[host].qps.len() {
                self.hosts[host].poll(qp, &mut self.ledger);
            }
        }
        moved
    }

    fn timers(&mut self, host: usize) -> bool {
        let mut busy = false;
        for index in 0..self.hosts[host].qps.len() {
            let qp = &mut self.hosts[host].qps[index];
            if qp
                .requester
                .deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                let view = View {
                    drivers: &self.drivers[host],
                    peer: qp.peer,
                };
                qp.requester.on_timer(self.now, &view);
                self.hosts[host].poll(index, &mut self.ledger);
                busy = true;
            }
        }
        busy
    }

    fn next_event(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut consider = |at: Option<Instant>| {
            if let Some(at) = at.filter(|at| *at > self.now) {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
        };
        for drivers in &self.drivers {
            for driver in drivers {
                consider(Some(driver.run_at));
                consider(driver.next_event(&self.cables[driver.cable], self.now));
            }
        }
        for host in &self.hosts {
            for qp in &host.qps {
                consider(qp.requester.deadline());
            }
        }
        for pair in &self.pairs {
            consider(Some(pair.ordeal_at));
            for late in pair.late.iter().flatten() {
                consider(Some(late.0));
            }
            for sender in &pair.senders {
                consider((sender.left > 0).then_some(sender.next_at));
            }
        }
        for receiver in &self.receivers {
            consider((!receiver.is_starving).then_some(receiver.next_at));
        }
        consider((!self.healed).then_some(self.next_fault.min(SAFETY_PHASE)));
        for (at, _) in &self.replug {
            consider(Some(*at));
        }
        next
    }

    /// What goes wrong with cables and streams now.
    fn faults(&mut self) -> bool {
        if self.healed {
            return false;
        }
        if self.now >= SAFETY_PHASE {
            self.healed = true;
            for cable in &mut self.cables {
                cable.heal();
            }
            return true;
        }
        let now = self.now;
        let due: Vec<usize> = self
            .replug
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, cable)| *cable)
            .collect();
        self.replug.retain(|(at, _)| *at > now);
        for cable in &due {
            self.cables[*cable].plug();
        }
        if now < self.next_fault {
            return !due.is_empty();
        }
        self.next_fault = now.after(Duration(self.rng.random_range(0..SAFETY_PHASE.0 / 6)));
        let cable = self.rng.random_range(0..self.cables.len());
        match self.rng.random_range(0..4) {
            0 => {
                self.cables[cable].unplug();
                let back = now.after(Duration::from_millis(self.rng.random_range(1..900)));
                self.replug.push((back, cable));
            }
            1 => {
                let until = now.after(Duration::from_millis(self.rng.random_range(1..400)));
                self.cables[cable].stall(until);
            }
            2 => {
                // Long enough for the rail to be declared dead.
                self.cables[cable].stall(now.after(Duration::from_millis(3_500)));
            }
            _ => {
                let host = self.rng.random_range(0..self.hosts.len());
                let index = self.rng.random_range(0..self.drivers[host].len());
                let driver = &mut self.drivers[host][index];
                let mut around = Surroundings {
                    cable: &mut self.cables[driver.cable],
                    host: &mut self.hosts[host],
                    ledger: &mut self.ledger,
                    rng: &mut self.rng,
                    now,
                };
                driver.close(&mut around);
                for qp in 0..self.hosts[host].qps.len() {
                    self.hosts[host].poll(qp, &mut self.ledger);
                }
            }
        }
        true
    }

    /// What the users of the queue pairs do now.
    fn users(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.receivers.len() {
            let receiver = &mut self.receivers[index];
            if receiver.is_starving || self.now < receiver.next_at {
                continue;
            }
            let pause = [100_000, 1_000_000, 30_000_000][self.rng.random_range(0..3)];
            receiver.next_at = self.now.after(Duration(self.rng.random_range(1..pause)));
            let ring = &mut self.hosts[receiver.host].rings[receiver.ring];
            if ring.len() < 16 {
                for _ in 0..self.rng.random_range(1..8) {
                    ring.post(RECEIVE_LEN);
                }
            }
            busy = true;
        }
        for index in 0..self.pairs.len() {
            busy |= self.start_late(index);
            busy |= self.ordeal(index);
            for side in 0..2 {
                busy |= self.send(index, side);
            }
        }
        busy
    }

    /// Starts the responders whose time has come.
    fn start_late(&mut self, index: usize) -> bool {
        let mut busy = false;
        let pair = &mut self.pairs[index];
        for side in 0..2 {
            let Some((_, config)) = pair.late[side].filter(|(at, _)| *at <= self.now) else {
                continue;
            };
            pair.late[side] = None;
            busy = true;
            let (host, qp) = pair.ends[side];
            let qp = &mut self.hosts[host].qps[qp];
            if qp.in_error {
                continue;
            }
            qp.responder.start(config);
            if qp.missed {
                qp.responder.announce_ready();
            }
        }
        busy
    }

    fn ordeal(&mut self, index: usize) -> bool {
        let pair = &mut self.pairs[index];
        if self.now < pair.ordeal_at {
            return false;
        }
        pair.ordeal_at = Instant(u64::MAX);
        let life = pair.life;
        match pair.ordeal {
            Ordeal::None | Ordeal::Poison(_) => {}
            Ordeal::Flush => {
                let (host, qp) = pair.ends[0];
                self.ledger.connections[life].disturbed = [true; 2];
                let qp_ref = &mut self.hosts[host].qps[qp];
                qp_ref.in_error = true;
                qp_ref.requester.flush();
                qp_ref.responder.flush();
                self.hosts[host].poll(qp, &mut self.ledger);
            }
            Ordeal::Reset => {
                for (host, qp) in pair.ends {
                    let qp = &mut self.hosts[host].qps[qp];
                    qp.requester.reset();
                    qp.responder.reset();
                }
                // What the old life left undone is forgotten; its receives are gone.
                self.connect(index);
            }
        }
        true
    }

    /// Posts messages of one direction.
    fn send(&mut self, index: usize, side: usize) -> bool {
        let pair = &mut self.pairs[index];
        let sender = &mut pair.senders[side];
        if sender.left == 0 || self.now < sender.next_at {
            return false;
        }
        let pause = [1_000, 1_000_000, 300_000_000][self.rng.random_range(0..3)];
        sender.next_at = self.now.after(Duration(self.rng.random_range(1..pause)));
        let (host, qp_index) = pair.ends[side];
        let burst = self.rng.random_range(1..12);
        for _ in 0..burst {
            let pair = &self.pairs[index];
            let room = self.hosts[host].qps[qp_index].requester.room();
            if pair.senders[side].left == 0 || room == 0 {
                break;
            }
            self.post_one(index, side);
        }
        self.hosts[host].poll(qp_index, &mut self.ledger);
        true
    }

    fn post_one(&mut self, index: usize, side: usize) {
        let pair = &mut self.pairs[index];
        let life = pair.life;
        let sender = &mut pair.senders[side];
        let poisoned = match (pair.ordeal, sender.poison_at) {
            (Ordeal::Poison(poison), Some(at)) if at == sender.left - 1 => Some(poison),
            _ => None,
        };
        sender.left -= 1;
        let rng = &mut self.rng;
        let mut opcode = [
            Opcode::Send,
            Opcode::SendWithImm,
            Opcode::Write,
            Opcode::WriteWithImm,
            Opcode::Read,
        ][rng.random_range(0..5)];
        let mut length = match rng.random_range(0..6) {
            0 => rng.random_range(0..2),
            1 => pair.config.segment.min(pair.config.largest),
            2 => (pair.config.segment + 1).min(pair.config.largest),
            _ => rng.random_range(0..=pair.config.largest),
        };
        let is_flag = sender.flag_due && poisoned.is_none();
        sender.flag_due = false;
        if is_flag {
            opcode = Opcode::Write;
            length = 8;
        }
        match poisoned {
            None => {}
            Some(Poison::WriteKey) => {
                opcode = Opcode::Write;
                length = length.max(1);
            }
            Some(Poison::ReadKey | Poison::RevokedRead) => {
                opcode = Opcode::Read;
                length = length.max(1);
            }
            Some(Poison::LongSend) => {
                opcode = Opcode::Send;
                length = RECEIVE_LEN + rng.random_range(1..100_000);
            }
            Some(Poison::LocalBuffer | Poison::NoReceives) => opcode = Opcode::Send,
        }
        if opcode == Opcode::Write && !is_flag && poisoned.is_none() {
            sender.flag_due = rng.random_range(0..2) == 0;
        }
        let fate = match poisoned {
            None => Fate::Succeed,
            Some(Poison::WriteKey | Poison::ReadKey | Poison::RevokedRead) => {
                Fate::Fail(CompletionStatus::RemoteAccessError)
            }
            Some(Poison::LongSend) => Fate::Fail(CompletionStatus::RemoteInvalidRequestError),
            Some(Poison::LocalBuffer) => Fate::Fail(CompletionStatus::LocalProtectionError),
            Some(Poison::NoReceives) => Fate::Fail(CompletionStatus::RnrRetryExceeded),
        };
        let (peer_host, peer_qp) = pair.ends[1 - side];
        let (host, qp) = pair.ends[side];
        if poisoned == Some(Poison::NoReceives) {
            self.starve(peer_host, peer_qp);
        }
        let rng = &mut self.rng;
        let va = rng.random::<u64>() >> 1;
        let tag = rng.random();
        let signalled = rng.random_range(0..3) > 0;
        let solicited = opcode.consumes_receive() && rng.random_range(0..2) == 0;
        let imm = rng.random();
        let fenced = rng.random_range(0..6) == 0;
        let number = self.ledger.connections[life].streams[side].messages.len();
        let rkey = self.ledger.register(life, side, number, va);
        if matches!(poisoned, Some(Poison::WriteKey | Poison::ReadKey)) {
            if let Some(region) = self.ledger.regions.get_mut(&rkey) {
                region.revoked = true;
            }
        }
        if poisoned == Some(Poison::RevokedRead) {
            if let Some(region) = self.ledger.regions.get_mut(&rkey) {
                region.revoke_when_checked = true;
            }
        }
        let stream = &mut self.ledger.connections[life].streams[side];
        if opcode.consumes_receive() {
            stream.consumers.push(number);
        }
        stream.messages.push(Message {
            opcode,
            length,
            tag,
            imm,
            signalled,
            solicited,
            fenced,
            fate,
            is_flag,
            target: vec![0; length as usize],
            placed: Default::default(),
            placed_bytes: 0,
            received: false,
            completed: None,
        });
        let qp = &mut self.hosts[host].qps[qp];
        let slot = qp
            .requester
            .post(
                SendRequest {
                    wr_id: number as u64,
                    opcode,
                    signalling: if signalled {
                        Signalling::Signalled
                    } else {
                        Signalling::Unsignalled
                    },
                    solicitation: if solicited {
                        Solicitation::Solicited
                    } else {
                        Solicitation::Unsolicited
                    },
                    fencing: if fenced {
                        Fencing::Fenced
                    } else {
                        Fencing::Unfenced
                    },
                    length,
                    remote_va: va,
                    rkey: Rkey(rkey),
                    imm,
                },
                self.now,
            )
            .unwrap();
        qp.slots.insert(slot, number);
    }

    /// No more receives for a queue pair. Messages that need one may fail from now on.
    fn starve(&mut self, host: usize, qp: usize) {
        let ring = self.hosts[host].qps[qp].ring;
        for receiver in &mut self.receivers {
            if receiver.host == host && receiver.ring == ring {
                receiver.is_starving = true;
            }
        }
        self.hosts[host].rings[ring].clear();
    }

    fn is_done(&self) -> bool {
        if self.now <= SAFETY_PHASE || !self.healed {
            return false;
        }
        let all_up = self
            .drivers
            .iter()
            .flatten()
            .all(|driver| driver.endpoint.is_up());
        all_up && self.pairs.iter().all(|pair| self.is_pair_done(pair))
    }

    fn is_pair_done(&self, pair: &Pair) -> bool {
        let connection = &self.ledger.connections[pair.life];
        (0..2).all(|side| {
            let (host, qp) = pair.ends[side];
            let qp = &self.hosts[host].qps[qp];
            let stream = &connection.streams[side];
            pair.senders[side].left == 0
                && stream.completed == stream.messages.len()
                && qp.requester.is_empty()
        })
    }

    fn coverage(&self) -> Coverage {
        let mut sum = Coverage::default();
        for qp in self.hosts.iter().flat_map(|host| &host.qps) {
            let requester = qp.requester.counters();
            let responder = qp.responder.counters();
            sum.repeated_segments += requester.repeated_segments;
            sum.timeouts += requester.timeouts;
            sum.rnr_naks += requester.rnr_naks;
            sum.sequence_naks += requester.sequence_naks;
            sum.repeated_responses += responder.repeated_responses;
            sum.duplicates += responder.duplicates;
        }
        for driver in self.drivers.iter().flatten() {
            sum.reopened_rails += u64::from(driver.opened - 1);
            sum.skipped_headers += driver.skipped;
        }
        let streams = self
            .ledger
            .connections
            .iter()
            .flat_map(|life| &life.streams);
        for stream in streams {
            sum.failed_streams += u64::from(stream.failed.is_some());
            sum.messages += stream.messages.len() as u64;
        }
        sum
    }

    /// Whether nothing overtakes anything else: one rail, without faults.
    fn keeps_order(&self, pair: &Pair) -> bool {
        let [(host, _), (peer, _)] = pair.ends;
        let rails = self.drivers[host]
            .iter()
            .filter(|driver| driver.peer == peer);
        let mut count = 0;
        let mut clean = true;
        for driver in rails {
            let config = &self.cables[driver.cable].config;
            count += 1;
            clean &= config.loss == 0 && config.corruption == 0 && driver.opened == 1;
        }
        clean && count == 1
    }

    fn check_end(&self) {
        for pair in &self.pairs {
            let connection = &self.ledger.connections[pair.life];
            for side in 0..2 {
                let (host, qp) = pair.ends[side];
                let qp = &self.hosts[host].qps[qp];
                let stream = &connection.streams[side];
                if !connection.disturbed[side] && pair.senders[side].poison_at.is_none() {
                    assert_eq!(stream.failed, None, "seed {}", self.seed);
                    assert_eq!(
                        stream.received,
                        stream.consumers.len(),
                        "seed {}",
                        self.seed
                    );
                }
                let is_refused = matches!(
                    pair.ordeal,
                    Ordeal::Poison(
                        Poison::WriteKey | Poison::ReadKey | Poison::LongSend | Poison::NoReceives
                    )
                );
                if self.keeps_order(pair) && is_refused && side == 0 {
                    let placed: u32 = stream
                        .messages
                        .iter()
                        .skip_while(|message| message.completed == Some(CompletionStatus::Success))
                        .skip(1)
                        .map(|message| message.placed_bytes)
                        .sum();
                    assert_eq!(
                        placed, 0,
                        "seed {}: memory changed behind a refused request",
                        self.seed
                    );
                }
                let all_opened_once = self
                    .drivers
                    .iter()
                    .flatten()
                    .all(|driver| driver.opened == 1);
                if self.tame && all_opened_once && pair.ordeal == Ordeal::None {
                    let timeouts = qp.requester.counters().timeouts;
                    assert_eq!(timeouts, 0, "seed {}: waited in vain", self.seed);
                }
                if pair.ordeal == Ordeal::None {
                    let bogus = (qp.requester.counters().bogus, qp.responder.counters().bogus);
                    assert_eq!(bogus, (0, 0), "seed {}: window overrun", self.seed);
                }
            }
        }
        if self.trace {
            println!(
                "seed {} done at {:?}{}",
                self.seed,
                self.now,
                self.describe()
            );
        }
    }
}
