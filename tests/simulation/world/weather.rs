// SPDX-License-Identifier: GPL-2.0

//! The cables of a world and what goes wrong with them.

use super::pair::Pair;
use super::World;
use super::SAFETY_PHASE;
use crate::cable::Cable;
use crate::cable::CableConfig;
use crate::driver::Driver;
use crate::driver::Surroundings;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;

/// What the cables are like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Weather {
    /// No faults at all.
    Fair,
    /// Nothing worse than bit errors, and frames of the stream that get lost without a trace.
    BitErrors,
    /// Unplugged cables and closed streams, but one rail between any two hosts is spared.
    Outages,
    /// Everything.
    Storm,
}

/// What a host says of itself. Whether it offers the faster checksum is a bit of the world's seed.
fn identity(seed: u64, host: usize, limits: Limits) -> Identity {
    let processor = if seed >> host & 1 == 1 {
        Features::FAST_CRC32C
    } else {
        Features::NONE
    };
    let features = processor
        .with(Features::ATOMICS)
        .with(Features::ATOMIC_WRITE)
        .with(Features::FLUSH);
    Identity {
        node_guid: NodeGuid(host as u64 + 1),
        mac: [2, 0, 0, 0, 0, host as u8],
        features,
        limits,
        name: [0; NODE_NAME_LEN],
    }
}

/// Limits of some host.
pub(super) fn limits(rng: &mut ChaCha8Rng) -> Limits {
    Limits {
        max_payload: [SMALL_PAYLOAD, 16 * 1024, MAX_PAYLOAD][rng.random_range(0..3)],
        window: [8, 16, 64, 256][rng.random_range(0..4)],
        max_rd_atomic: [1, 2, 4, 16][rng.random_range(0..4)],
    }
}

impl World {
    pub(super) fn lay_cables(&mut self) {
        let weather = self.weather;
        let rng = &mut self.rng;
        let hosts = self.hosts.len();
        let in_storm = |rate: u32| match weather {
            Weather::Fair | Weather::BitErrors | Weather::Outages => 0,
            Weather::Storm => rate,
        };
        for one in 0..hosts {
            for other in one + 1..hosts {
                let fewest = if weather == Weather::Outages { 2 } else { 1 };
                let rails = rng.random_range(fewest..=4);
                for number in 0..rails {
                    self.spared.push(weather == Weather::Outages && number == 0);
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
                        loss: match weather {
                            Weather::Fair | Weather::Outages => 0,
                            Weather::BitErrors => loss / 3,
                            Weather::Storm => loss,
                        },
                        corruption: match weather {
                            Weather::Fair | Weather::Outages => 0,
                            Weather::BitErrors => 20_000,
                            Weather::Storm => corruption,
                        },
                        short_io: rate(rng, 200_000),
                        lag: in_storm(rate(rng, 300_000)),
                        lost_eof: in_storm(rate(rng, 500_000)),
                    };
                    let cable = self.cables.len();
                    self.cables.push(Cable::new(cable, config));
                    let entries = [16, 64, 1024][rng.random_range(0..3)];
                    let bytes = [100_000, 1_000_000, 16_000_000][rng.random_range(0..3)];
                    for (end, (me, peer)) in [(one, other), (other, one)].into_iter().enumerate() {
                        let rail = RailId::new(self.drivers[me].len() as u8).unwrap();
                        let identity = identity(self.seed, me, self.hosts[me].limits);
                        let mut driver =
                            Driver::new(identity, rail, cable, end, peer, entries, bytes);
                        driver.run_at = Instant(rng.random_range(0..20_000_000));
                        self.drivers[me].push(driver);
                    }
                }
            }
        }
    }

    /// A cable is gone for good, perhaps the last one between two hosts.
    fn sever(&mut self, cable: usize) {
        self.cables[cable].sever();
        for index in 0..self.pairs.len() {
            if self.is_cut(&self.pairs[index]) {
                let life = self.pairs[index].life;
                self.ledger.connections[life].disturbed = [true; 2];
            }
        }
    }

    /// Whether no cable is left between the hosts of a pair.
    pub(super) fn is_cut(&self, pair: &Pair) -> bool {
        let [(host, _), (peer, _)] = pair.ends;
        self.is_cut_between([host, peer])
    }

    /// Whether all cables between two hosts are gone for good.
    pub(super) fn is_cut_between(&self, [host, peer]: [usize; 2]) -> bool {
        self.drivers[host]
            .iter()
            .filter(|driver| driver.peer == peer)
            .all(|driver| self.cables[driver.cable].is_severed())
    }

    /// What goes wrong with cables and streams now.
    pub(super) fn faults(&mut self) -> bool {
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
        for cable in &mut self.cables {
            cable.log = self.ledger.log;
        }
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
        if self.spared[cable] {
            return true;
        }
        let worst = match self.weather {
            Weather::Fair | Weather::BitErrors | Weather::Outages => 3,
            Weather::Storm => 6,
        };
        match self.rng.random_range(0..worst) {
            0 => {
                self.cables[cable].unplug();
                let back = now.after(Duration::from_millis(self.rng.random_range(1..900)));
                self.replug.push((back, cable));
            }
            1 => {
                let host = self.rng.random_range(0..self.hosts.len());
                let index = self.rng.random_range(0..self.drivers[host].len());
                let driver = &mut self.drivers[host][index];
                if self.spared[driver.cable] {
                    return true;
                }
                let mut around = Surroundings {
                    cable: &mut self.cables[driver.cable],
                    host: &mut self.hosts[host],
                    ledger: &mut self.ledger,
                    rng: &mut self.rng,
                    now,
                };
                self.closed_streams += 1;
                driver.close(&mut around);
                for qp in 0..self.hosts[host].qps.len() {
                    self.hosts[host].poll(qp, &mut self.ledger);
                }
            }
            2 => {
                let longest = match self.weather {
                    // Some of these in a row are shorter than the ACK timer.
                    Weather::Fair | Weather::BitErrors | Weather::Outages => 600,
                    Weather::Storm => [400, 2_900, 6_000][self.rng.random_range(0..3)],
                };
                let until = now.after(Duration::from_millis(self.rng.random_range(1..longest)));
                self.cables[cable].stall(until);
            }
            3 => {
                let end = self.rng.random_range(0..2);
                self.cables[cable].wedge(end);
            }
            4 => {
                // Long enough for the rail to be declared dead.
                self.cables[cable].stall(now.after(Duration::from_millis(3_500)));
            }
            _ => {
                if self.rng.random_range(0..3) == 0 {
                    self.sever(cable);
                }
            }
        }
        true
    }
}
