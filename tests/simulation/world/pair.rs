// SPDX-License-Identifier: GPL-2.0

//! Pairs of queue pairs: how they are connected, and what they are put through.

use super::user::Receiver;
use super::user::Sender;
use super::user::RECEIVE_LEN;
use super::weather::Weather;
use super::World;
use super::SAFETY_PHASE;
use crate::heap::table;
use crate::host::QueuePair;
use crate::host::ReceiveRing;
use crate::ledger::Connection;
use crate::ledger::Fate;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::connection;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

/// What a connection is put through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ordeal {
    /// Only the cables'.
    None,
    /// A message that must fail with this status.
    Poison(Poison),
    /// One end is flushed at some time.
    Flush,
    /// Both ends are reset at some time and connected anew.
    Reset,
    /// One end is destroyed at some time.
    Destroy,
    /// One end is destroyed as soon as its user has seen that all is done.
    Leave,
    /// A key is invalidated while it is in use.
    Revoke,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Poison {
    WriteKey,
    ReadKey,
    RevokedRead,
    AtomicKey,
    RevokedAtomic,
    Misaligned,
    LongSend,
    LocalBuffer,
    NoReceives,
}

/// What becomes of a request that is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// It is repeated some times.
    Some,
    /// It is not: the first time the timer ends is the last.
    None,
    /// It waits for ever: no timer helps.
    Endless,
}

#[derive(Clone, Debug)]
pub(super) struct PairConfig {
    /// Of a segment, as agreed.
    pub(super) segment: u32,
    pub(super) depth: usize,
    pub(super) patience: Patience,
    pub(super) rnr_retry: u8,
    pub(super) largest: u32,
}

/// How long a reset waits for what is on its way.
const OUTWAIT: Duration = Duration::from_millis(4_000);

/// A reset that waits for what is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resetting {
    /// So long at most.
    pub(super) until: Instant,
    /// See [`World::openings`].
    openings: Option<u32>,
}

/// A pair of queue pairs and its users.
pub(super) struct Pair {
    pub(super) ends: [(usize, usize); 2],
    pub(super) config: PairConfig,
    pub(super) ordeal: Ordeal,
    pub(super) ordeal_at: Instant,
    pub(super) senders: [Sender; 2],
    pub(super) life: usize,
    /// First PSNs of the present life.
    psns: [Psn; 2],
    /// Both ends were reset and wait until nothing of their life is on its way.
    pub(super) resetting: Option<Resetting>,
    /// Responders that are started late: when, and how.
    pub(super) late: [Option<(Instant, ResponderConfig)>; 2],
}

impl World {
    pub(super) fn add_pair(&mut self) {
        let rng = &mut self.rng;
        let one = rng.random_range(0..self.hosts.len());
        let other = (one + rng.random_range(1..self.hosts.len())) % self.hosts.len();
        let ordeal = match rng.random_range(0..20) {
            11 => Ordeal::Poison(Poison::AtomicKey),
            12 => Ordeal::Poison(Poison::RevokedAtomic),
            13 => Ordeal::Poison(Poison::Misaligned),
            8 => Ordeal::Destroy,
            9 => Ordeal::Leave,
            10 => Ordeal::Revoke,
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
        let limits = [one, other].map(|host| self.hosts[host].limits);
        let patience = match ordeal {
            // Who may find nobody at the other end had better not wait for ever.
            Ordeal::None | Ordeal::Reset | Ordeal::Leave if rng.random_range(0..4) == 0 => {
                Patience::Endless
            }
            _ if rng.random_range(0..6) == 0 => Patience::None,
            _ => Patience::Some,
        };
        let config = PairConfig {
            segment: limits[0].max_payload.min(limits[1].max_payload),
            depth: [4, 16, 64][rng.random_range(0..3)],
            patience,
            rnr_retry: match (ordeal, patience) {
                (Ordeal::Poison(Poison::NoReceives), _) => 3,
                // Who waits for ever had better not meet somebody who has given up.
                (Ordeal::Poison(_), _) | (_, Patience::Endless) => 7,
                _ if rng.random_range(0..12) == 0 => 0,
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
                let posts_late = rng.random_range(0..5) == 0 && !starves;
                let mut receives = ReceiveRing::default();
                receives.posted_late = posts_late.then_some(RECEIVE_LEN);
                self.hosts[me].rings.push(receives);
                self.receivers.push(Receiver {
                    host: me,
                    ring,
                    next_at: Instant(0),
                    is_starving: posts_late,
                });
                if shared {
                    self.shared_rings[me] = Some(ring);
                }
                ring
            };
            let window = usize::from(limits[side].window);
            let reads = usize::from(limits[side].max_rd_atomic);
            let requester = RequesterTables {
                messages: table(config.depth),
                segments: table(window),
                reads: table(reads),
            };
            let responder = ResponderTables {
                requests: table(window),
                receives: table(window),
                reads: table(reads),
                responses: table(window),
            };
            let protocol = connection::Connection::new(requester, responder).unwrap();
            let host = &mut self.hosts[me];
            let qpn = Qpn::new(100 + host.qps.len() as u32);
            ends[side] = (me, host.qps.len());
            host.qps.push(QueuePair::new(qpn, peer, ring, protocol));
        }
        self.pairs.push(Pair {
            ends,
            config,
            ordeal,
            ordeal_at,
            senders,
            life: 0,
            psns: [Psn::new(0); 2],
            resetting: None,
            late: [None; 2],
        });
        let psns = self.new_psns();
        self.connect(self.pairs.len() - 1, psns);
    }

    fn new_psns(&mut self) -> [Psn; 2] {
        [0, 1].map(|_| match self.rng.random_range(0..3) {
            0 => Psn::new(Psn::MASK - self.rng.random_range(0..20)),
            _ => Psn::new(self.rng.random()),
        })
    }

    /// How often the rails between the hosts of a pair have been opened, if all are up.
    fn openings(&self, pair: &Pair) -> Option<u32> {
        let [(host, _), (peer, _)] = pair.ends;
        let between = |one: usize, other| {
            self.drivers[one]
                .iter()
                .filter(move |driver| driver.peer == other)
        };
        between(host, peer)
            .chain(between(peer, host))
            .map(|driver| driver.endpoint.is_up().then_some(driver.opened))
            .sum()
    }

    /// Whether something that an end of a pair has sent, or has to say at last, may still arrive.
    fn is_haunted(&self, pair: &Pair) -> bool {
        (0..2).any(|side| {
            let (host, index) = pair.ends[side];
            let (peer, _) = pair.ends[1 - side];
            let qpn = self.hosts[host].qps[index].qpn;
            let mut rails = self.drivers[host]
                .iter()
                .filter(|driver| driver.peer == peer && driver.endpoint.is_up())
                .peekable();
            let is_reachable = rails.peek().is_some();
            (is_reachable && self.hosts[host].owes_final_ack(index))
                || rails.any(|driver| driver.endpoint.carries(qpn))
        })
    }

    /// Connects a pair that was reset, when its time has come. With the same PSNs, unless a rail has died meanwhile: what it
    /// had handed back as lost may arrive all the same until the peer notices.
    pub(super) fn reconnect(&mut self, index: usize) -> bool {
        let Some(resetting) = self.pairs[index].resetting else {
            return false;
        };
        if self.now < resetting.until && self.is_haunted(&self.pairs[index]) {
            return false;
        }
        self.pairs[index].resetting = None;
        let is_clean = resetting.openings.is_some()
            && resetting.openings == self.openings(&self.pairs[index])
            && !self.is_haunted(&self.pairs[index]);
        let psns = if is_clean {
            self.equal_psns += 1;
            self.pairs[index].psns
        } else {
            self.new_psns()
        };
        for (host, qp) in self.pairs[index].ends {
            self.hosts[host].withdraw_final_ack(qp);
        }
        self.connect(index, psns);
        true
    }

    /// Connects a pair for the first time, or anew.
    pub(super) fn connect(&mut self, pair: usize, psns: [Psn; 2]) {
        let life = self.ledger.connections.len();
        let is_cut = self.is_cut(&self.pairs[pair]);
        let pair = &mut self.pairs[pair];
        pair.life = life;
        // With few RNR retries a slow receiver may be enough to fail any message, and without any other a rail that
        // comes up late.
        let config = &pair.config;
        let is_fragile = config.rnr_retry < 7
            || (config.patience == Patience::None && self.weather != Weather::Fair);
        self.ledger.connections.push(Connection {
            segment: pair.config.segment,
            disturbed: [is_fragile || is_cut; 2],
            ..Connection::default()
        });
        pair.psns = psns;
        let timeout = AckTimeout::new(match self.weather {
            _ if pair.config.patience == Patience::Endless => 0,
            // 0.27 s.
            Weather::Fair => 14,
            // 2.1 s, and eight of them, are longer than all faults together. A single damaged hello costs two
            // seconds.
            Weather::BitErrors | Weather::Outages | Weather::Storm => 17,
        });
        let qpns = pair.ends.map(|(host, qp)| self.hosts[host].qps[qp].qpn);
        for side in 0..2 {
            pair.senders[side].flag_due = false;
            let (host, qp) = pair.ends[side];
            let limits = self.hosts[host].limits;
            self.hosts[host].touch(qp);
            let qp = &mut self.hosts[host].qps[qp];
            qp.begin(life, side);
            let config = ResponderConfig {
                local_qpn: qpns[side],
                remote_qpn: qpns[1 - side],
                initial_psn: psns[1 - side],
                window: limits.window,
                max_dest_rd_atomic: limits.max_rd_atomic,
                rnr_timer: RnrTimer::new(self.rng.random_range(1..16)),
            };
            pair.late[side] = if self.weather == Weather::Storm && self.rng.random_range(0..4) == 0
            {
                let delay = Duration::from_millis(self.rng.random_range(1..1500));
                Some((self.now.after(delay), config))
            } else {
                qp.protocol.start_responder(config);
                None
            };
            qp.protocol.start_requester(RequesterConfig {
                local_qpn: qpns[side],
                remote_qpn: qpns[1 - side],
                initial_psn: psns[side],
                segment: SegmentSize::new(limits.max_payload).unwrap(),
                window: limits.window,
                max_rd_atomic: limits.max_rd_atomic,
                timeout,
                retry: RetryLimit::from_retry_count(match pair.config.patience {
                    Patience::Some | Patience::Endless => 7,
                    Patience::None => 0,
                }),
                rnr_retry: RetryLimit::from_rnr_retry(pair.config.rnr_retry),
            });
        }
    }

    /// Starts the responders whose time has come.
    pub(super) fn start_late(&mut self, index: usize) -> bool {
        let mut busy = false;
        let pair = &mut self.pairs[index];
        for side in 0..2 {
            let Some((_, config)) = pair.late[side].filter(|(at, _)| *at <= self.now) else {
                continue;
            };
            pair.late[side] = None;
            busy = true;
            let (host, qp) = pair.ends[side];
            self.hosts[host].touch(qp);
            let qp = &mut self.hosts[host].qps[qp];
            if qp.in_error || qp.is_destroyed {
                continue;
            }
            qp.protocol.start_responder(config);
            if qp.missed {
                qp.protocol.announce_ready();
            }
        }
        busy
    }

    pub(super) fn ordeal(&mut self, index: usize) -> bool {
        if self.now < self.pairs[index].ordeal_at {
            return false;
        }
        if self.pairs[index].ordeal == Ordeal::Leave && !self.has_seen_all(index) {
            return false;
        }
        let pair = &mut self.pairs[index];
        pair.ordeal_at = Instant(u64::MAX);
        let life = pair.life;
        let ordeal = pair.ordeal;
        self.ledger
            .log
            .say(format_args!("pair {index}: {ordeal:?}"));
        match ordeal {
            Ordeal::None | Ordeal::Poison(_) => {}
            Ordeal::Flush => {
                let (host, qp) = pair.ends[0];
                self.ledger.connections[life].disturbed = [true; 2];
                let qp_ref = &mut self.hosts[host].qps[qp];
                qp_ref.in_error = true;
                qp_ref.protocol.flush();
                self.hosts[host].touch(qp);
                self.hosts[host].poll(qp, &mut self.ledger);
            }
            Ordeal::Reset => {
                // What the old life left undone is forgotten; its receives are gone.
                let ends = pair.ends;
                pair.late = [None; 2];
                for (host, qp) in ends {
                    self.hosts[host].reset(qp);
                }
                let openings = self.openings(&self.pairs[index]);
                self.pairs[index].resetting = Some(Resetting {
                    until: self.now.after(OUTWAIT),
                    openings,
                });
            }
            Ordeal::Destroy | Ordeal::Leave => {
                let (host, qp) = pair.ends[0];
                pair.senders[0].left = 0;
                // Who leaves when all is done has acknowledged it, and says so again if that gets lost.
                if ordeal != Ordeal::Leave {
                    self.ledger.connections[life].disturbed = [true; 2];
                }
                self.hosts[host].destroy(qp);
                if ordeal == Ordeal::Leave {
                    self.lose_final_ack(index);
                }
            }
            Ordeal::Revoke => self.revoke(life),
        }
        true
    }

    /// Loses what end 0 has said last, or what it will say.
    fn lose_final_ack(&mut self, index: usize) {
        let [(host, _), (peer, _)] = self.pairs[index].ends;
        for driver in self.drivers[host]
            .iter()
            .filter(|driver| driver.peer == peer)
        {
            let next = self.rng.random_range(0..3);
            self.cables[driver.cable].lose(driver.end, next);
        }
    }

    /// Whether the user of end 0 knows that both ends have got all they wanted.
    fn has_seen_all(&self, index: usize) -> bool {
        let pair = &self.pairs[index];
        let [own, peer] = &self.ledger.connections[pair.life].streams;
        let is_last_seen = peer.messages.last().is_some_and(|message| message.received);
        // An empty answer is only shown by a completion.
        let are_reads_done = peer.messages.iter().all(|message| {
            !message.opcode.is_answered()
                || message.completed.is_some()
                || (message.placed_bytes > 0 && message.is_whole())
        });
        pair.senders.iter().all(|sender| sender.left == 0)
            && own.completed == own.messages.len()
            && is_last_seen
            && are_reads_done
    }

    /// Invalidates the key of a message of end 0 that is not complete.
    fn revoke(&mut self, life: usize) {
        let stream = &mut self.ledger.connections[life].streams[0];
        let open = stream.completed..stream.messages.len();
        let victim = open
            .into_iter()
            .find(|index| stream.messages[*index].opcode.names_memory());
        let Some(victim) = victim else {
            return;
        };
        stream.messages[victim].fate = Fate::MayFail(CompletionStatus::RemoteAccessError);
        for region in self.ledger.regions.values_mut() {
            if (region.connection, region.side, region.index) == (life, 0, victim) {
                region.revoked = true;
            }
        }
        self.ledger.connections[life].disturbed[0] = true;
    }

    /// No more receives for a queue pair. Messages that need one may fail from now on.
    pub(super) fn starve(&mut self, host: usize, qp: usize) {
        let ring = self.hosts[host].qps[qp].ring;
        for receiver in &mut self.receivers {
            if receiver.host == host && receiver.ring == ring {
                receiver.is_starving = true;
            }
        }
        self.hosts[host].rings[ring].clear();
    }
}
