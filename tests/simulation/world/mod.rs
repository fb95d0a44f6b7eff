// SPDX-License-Identifier: GPL-2.0

//! Hosts, cables and time; the random program that runs on them, and the checks at its end.

mod pair;
mod unreliable;
mod user;
mod verdict;
mod weather;

use crate::cable::Cable;
use crate::driver::Driver;
use crate::driver::Surroundings;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::log::Telling;
use crate::words::Use;
use crate::words::Word;
use pair::Pair;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use unreliable::UnreliablePair;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::endpoint::Answers;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use user::Receiver;
pub use verdict::Coverage;
use weather::Weather;

/// Faults happen until this time.
const SAFETY_PHASE: Instant = Instant(3_000_000_000);

/// All must be done by this time.
const END: Instant = Instant(60_000_000_000);

struct View<'a> {
    drivers: &'a [Driver],
    peer: usize,
}

impl Rails for View<'_> {
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus {
        self.drivers
            .iter()
            .find(|driver| driver.rail == rail)
            .map_or(FrameStatus::Settled, |driver| {
                driver.endpoint.frame_status(seq)
            })
    }

    fn up(&self) -> RailSet {
        let mut up = RailSet::NONE;
        for driver in self.drivers {
            if driver.peer == self.peer && driver.endpoint.is_up() {
                up.insert(driver.rail);
            }
        }
        up
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
    unreliable_pairs: Vec<UnreliablePair>,
    /// The shared receive queue of each host.
    shared_rings: Vec<Option<usize>>,
    next_fault: Instant,
    replug: Vec<(Instant, usize)>,
    healed: bool,
    weather: Weather,
    /// Cables that nothing is done to.
    spared: Vec<bool>,
    /// Closed for no reason.
    closed_streams: u64,
    /// Connections made anew with the PSNs of the life before.
    equal_psns: u64,
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
            hosts: Vec::new(),
            drivers: (0..host_count).map(|_| Vec::new()).collect(),
            cables: Vec::new(),
            ledger: Ledger::default(),
            pairs: Vec::new(),
            receivers: Vec::new(),
            unreliable_pairs: Vec::new(),
            shared_rings: vec![None; host_count],
            next_fault: Instant(match rng.random_range(0..4) {
                0 => SAFETY_PHASE.0,
                _ => rng.random_range(0..SAFETY_PHASE.0 / 2),
            }),
            replug: Vec::new(),
            healed: false,
            weather: Weather::Storm,
            spared: Vec::new(),
            closed_streams: 0,
            equal_psns: 0,
            rng,
        };
        for number in 0..host_count {
            let limits = weather::limits(&mut world.rng);
            let mut host = Host::new(number, limits, seed);
            host.port.join(host_count);
            world.hosts.push(host);
            for usage in Use::ALL {
                let word = Word::new(usage, world.rng.random());
                world.ledger.words.push(word);
            }
        }
        world.weather = match world.rng.random_range(0..6) {
            0 => Weather::Fair,
            1 => Weather::BitErrors,
            2 => Weather::Outages,
            _ => Weather::Storm,
        };
        match world.weather {
            Weather::Fair | Weather::BitErrors => world.next_fault = SAFETY_PHASE,
            Weather::Outages | Weather::Storm => {}
        }
        world.lay_cables();
        // Faults are what takes time.
        let most = if world.weather == Weather::Storm {
            4
        } else {
            8
        };
        let pairs = world.rng.random_range(1..=most);
        for _ in 0..pairs {
            world.add_pair();
        }
        for _ in 0..world.rng.random_range(0..=2) {
            world.add_unreliable_pair();
        }
        world
    }

    /// Tells everything from now on.
    pub fn tell(&mut self) {
        self.ledger.log.telling = Telling::Aloud;
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
                self.check_wake_ups();
                let Some(next) = self.next_event() else {
                    break;
                };
                assert!(next > self.now, "time stands still");
                self.now = next;
                self.ledger.log.now = next;
            }
        }
        panic!("seed {}: not done in time: {}", self.seed, self.describe());
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
            self.schedule(host);
        }
        for host in &mut self.hosts {
            busy |= host.port.act(self.now, &mut self.ledger.datagrams);
        }
        busy |= self.users();
        for host in 0..hosts {
            self.schedule(host);
        }
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
        self.schedule(host);
        moved
    }

    /// Tells rails of what there is to send since something was done to queue pairs.
    fn schedule(&mut self, host: usize) {
        for rail in self.hosts[host].schedule(self.now, &self.ledger) {
            let told = self.drivers[host]
                .iter_mut()
                .find(|driver| driver.rail == rail);
            told.expect("a rail of this host").wake();
        }
    }

    /// Work for which nobody is awake is work that nobody may ever do.
    fn check_wake_ups(&self) {
        for (host, drivers) in self.hosts.iter().zip(&self.drivers) {
            for driver in drivers.iter().filter(|driver| driver.is_idle()) {
                let others = || {
                    drivers
                        .iter()
                        .filter(|other| other.peer == driver.peer && other.endpoint.is_up())
                };
                let can_do =
                    |other: &Driver| host.has_work(other.peer, other.rail, self.now, &self.ledger);
                let is_sound = |other: &Driver| other.answers() == Answers::Come;
                // Who does not answer gets nothing while others do.
                let is_passed_over = !is_sound(driver) && others().any(is_sound);
                if is_passed_over || !can_do(driver) {
                    continue;
                }
                assert!(
                    others().any(|other| other.is_busy() && can_do(other)),
                    "seed {}: work for rail {:?} to host {}, and nobody was told",
                    self.seed,
                    driver.rail,
                    driver.peer
                );
            }
        }
    }

    fn timers(&mut self, host: usize) -> bool {
        let mut busy = false;
        for index in 0..self.hosts[host].qps.len() {
            let qp = &mut self.hosts[host].qps[index];
            if qp
                .protocol
                .poll_timeout()
                .is_some_and(|deadline| deadline <= self.now)
            {
                let view = View {
                    drivers: &self.drivers[host],
                    peer: qp.peer,
                };
                qp.protocol.handle_timeout(self.now, &view);
                self.hosts[host].touch(index);
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
            consider(host.port.next_event());
            for qp in &host.qps {
                consider(qp.protocol.poll_timeout());
            }
        }
        for pair in &self.pairs {
            consider(Some(pair.ordeal_at));
            if let Some(resetting) = pair.resetting {
                let soon = self.now.after(Duration::from_millis(1));
                consider(Some(resetting.until.min(soon)));
            }
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
        for pair in &self.unreliable_pairs {
            consider((pair.left > 0).then_some(pair.next_at));
            consider(Some(pair.receives_at));
        }
        consider((!self.healed).then_some(self.next_fault.min(SAFETY_PHASE)));
        for (at, _) in &self.replug {
            consider(Some(*at));
        }
        next
    }
}
