// SPDX-License-Identifier: GPL-2.0

//! Unreliable connections in a world: who uses them, and when all is well.

use super::weather::Weather;
use super::World;
use super::SAFETY_PHASE;
use crate::unreliable::Message;
use crate::unreliable::Stream;
use crate::unreliable::LARGEST;
use rand::Rng;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::opcode::Opcode;

/// Whose receives are as long as any message, or not always.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Generosity {
    /// Receives are long, and there are always some.
    Ample,
    /// Some are short, and they run out.
    Scant,
}

/// A sender and a receiver.
pub(super) struct UnreliablePair {
    /// Host and index of the sender, and of the receiver.
    ends: [(usize, usize); 2],
    stream: usize,
    generosity: Generosity,
    largest: u32,
    pub(super) left: u32,
    pub(super) next_at: Instant,
    pub(super) receives_at: Instant,
}

/// What they have gone through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unreliable {
    pub messages: u64,
    pub received: u64,
    pub verified_bytes: u64,
    pub lost_segments: u64,
    pub broken_messages: u64,
    pub orphans: u64,
    pub no_receive: u64,
    pub refused: u64,
    pub faultless: u64,
}

impl Unreliable {
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.received += other.received;
        self.verified_bytes += other.verified_bytes;
        self.lost_segments += other.lost_segments;
        self.broken_messages += other.broken_messages;
        self.orphans += other.orphans;
        self.no_receive += other.no_receive;
        self.refused += other.refused;
        self.faultless += other.faultless;
    }
}

/// How many receives are kept posted.
const RECEIVES: usize = 512;

impl World {
    pub(super) fn add_unreliable_pair(&mut self) {
        let rng = &mut self.rng;
        let one = rng.random_range(0..self.hosts.len());
        let other = (one + rng.random_range(1..self.hosts.len())) % self.hosts.len();
        let depth = [2, 16, 64][rng.random_range(0..3)];
        let first = Psn::new(if rng.random() {
            Psn::MASK - rng.random_range(0..20)
        } else {
            rng.random()
        });
        let stream = self.ledger.unreliable.len();
        self.ledger.unreliable.push(Stream::default());
        let sender = self.hosts[one].unreliable.add(other, stream, depth);
        let receiver = self.hosts[other].unreliable.add(one, stream, depth);
        let qpns = [
            self.hosts[one].unreliable.qpn(sender),
            self.hosts[other].unreliable.qpn(receiver),
        ];
        let limits = self.hosts[one].limits;
        self.hosts[one]
            .unreliable
            .start_sender(sender, qpns[1], first, &limits);
        self.hosts[other]
            .unreliable
            .start_receiver(receiver, qpns[0], first);
        let rng = &mut self.rng;
        self.unreliable_pairs.push(UnreliablePair {
            ends: [(one, sender), (other, receiver)],
            stream,
            generosity: if rng.random_range(0..3) == 0 {
                Generosity::Scant
            } else {
                Generosity::Ample
            },
            largest: [64, 5000, LARGEST][rng.random_range(0..3)],
            left: rng.random_range(10..80),
            next_at: Instant(rng.random_range(0..SAFETY_PHASE.0 / 8)),
            receives_at: Instant(0),
        });
    }

    /// What the two users do now.
    pub(super) fn use_unreliable(&mut self, index: usize) -> bool {
        let now = self.now;
        let rng = &mut self.rng;
        let pair = &mut self.unreliable_pairs[index];
        let mut busy = false;
        let (host, qp) = pair.ends[1];
        let receiver = &mut self.hosts[host].unreliable;
        match pair.generosity {
            Generosity::Ample => {
                while receiver.receives(qp) < RECEIVES {
                    receiver.post_receive(qp, LARGEST);
                }
            }
            Generosity::Scant if now >= pair.receives_at => {
                pair.receives_at = now.after(Duration(rng.random_range(1..100_000_000)));
                if receiver.receives(qp) < 4 {
                    let length = [LARGEST, 3000][rng.random_range(0..2)];
                    receiver.post_receive(qp, length);
                    busy = true;
                }
            }
            Generosity::Scant => {}
        }
        if pair.left == 0 || now < pair.next_at {
            return busy;
        }
        let pause = [1_000, 1_000_000, 100_000_000][rng.random_range(0..3)];
        pair.next_at = now.after(Duration(rng.random_range(1..pause)));
        let (host, qp) = pair.ends[0];
        let sender = &mut self.hosts[host].unreliable;
        for _ in 0..rng.random_range(1..12) {
            if pair.left == 0 || sender.room(qp) == 0 {
                break;
            }
            pair.left -= 1;
            let opcode = [
                Opcode::Send,
                Opcode::SendWithImm,
                Opcode::Write,
                Opcode::WriteWithImm,
            ][rng.random_range(0..4)];
            let message = Message {
                opcode,
                length: match rng.random_range(0..6) {
                    0 => rng.random_range(0..2),
                    _ => rng.random_range(0..=pair.largest),
                },
                tag: rng.random(),
                solicited: rng.random(),
            };
            sender.post(qp, message, &mut self.ledger.unreliable);
        }
        true
    }

    /// All has been sent, and has arrived or is lost.
    pub(super) fn is_unreliable_done(&self, pair: &UnreliablePair) -> bool {
        let (host, _) = pair.ends[0];
        let stream = &self.ledger.unreliable[pair.stream];
        let is_sent = pair.left == 0
            && stream.completed == stream.messages.len()
            && self.hosts[host].unreliable.is_settled();
        // Without a cable it waits for ever.
        is_sent || self.is_cut_between([pair.ends[0].0, pair.ends[1].0])
    }

    pub(super) fn unreliable_coverage(&self) -> Unreliable {
        let mut sum = Unreliable::default();
        for stream in &self.ledger.unreliable {
            sum.messages += stream.messages.len() as u64;
            sum.received += stream.received;
            sum.verified_bytes += stream.verified_bytes;
        }
        for counters in self
            .hosts
            .iter()
            .flat_map(|host| host.unreliable.counters())
        {
            sum.lost_segments += counters.sender.lost_segments;
            sum.broken_messages += counters.receiver.broken_messages;
            sum.orphans += counters.receiver.orphans;
            sum.no_receive += counters.receiver.no_receive;
            sum.refused += counters.receiver.refused;
        }
        let faultless = self
            .unreliable_pairs
            .iter()
            .filter(|pair| self.loses_nothing(pair));
        sum.faultless = faultless.count() as u64;
        sum
    }

    /// Whether nothing can have been lost: fair weather over perfect cables, and receives for all.
    fn loses_nothing(&self, pair: &UnreliablePair) -> bool {
        let [(host, _), (peer, _)] = pair.ends;
        let mut rails = self.drivers[host]
            .iter()
            .filter(|driver| driver.peer == peer);
        self.weather == Weather::Fair
            && pair.generosity == Generosity::Ample
            && rails.all(|driver| {
                let config = &self.cables[driver.cable].config;
                config.loss == 0 && config.corruption == 0 && driver.opened == 1
            })
    }

    pub(super) fn check_unreliable(&self) {
        for pair in &self.unreliable_pairs {
            let (host, receiver) = pair.ends[1];
            let counters = self.hosts[host].unreliable.counters_of(receiver).receiver;
            assert_eq!(counters.bogus, 0, "seed {}", self.seed);
            if pair.generosity == Generosity::Ample {
                assert_eq!(counters.no_receive, 0, "seed {}", self.seed);
                assert_eq!(counters.refused, 0, "seed {}", self.seed);
            }
            if self.loses_nothing(pair) {
                let stream = &self.ledger.unreliable[pair.stream];
                let told = stream
                    .messages
                    .iter()
                    .filter(|message| message.opcode.consumes_receive());
                assert_eq!(
                    stream.received,
                    told.count() as u64,
                    "seed {}: lost without a cause",
                    self.seed
                );
            }
        }
    }
}
