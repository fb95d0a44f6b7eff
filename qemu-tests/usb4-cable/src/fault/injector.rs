// SPDX-License-Identifier: GPL-2.0

//! What happens to each frame of a faulty direction of a cable.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::time::Duration;
use std::time::Instant;

use super::Faults;
use super::Flow;
use crate::frame::Signal;
use crate::ids::HopId;

/// A rate cap lets this much of its rate pass at once. Well above the time a busy machine takes
/// to run the forwarding thread again, so that the average is the cap.
const BURST: Duration = Duration::from_millis(10);

/// Most bytes flipped in a corrupt frame.
const MAX_FLIPS: usize = 4;

/// Whether a frame may enter the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// Soon: the rate cap holds it.
    Wait,
    /// Not before the faults change.
    Stalled,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives.
    Arrives {
        /// The bytes that are damaged; none for an intact frame.
        damage: Damage,
        /// Whether its interrupt comes late.
        signal: Signal,
    },
}

/// Bytes of a frame to flip: position and bits.
pub type Damage = Vec<(usize, u8)>;

/// The faults of one direction at work.
pub struct Injector {
    faults: Faults,
    random: fastrand::Rng,
    link: Option<TokenBucket>,
    /// Empty without a rate cap for each path; otherwise of those that have had a frame to send.
    paths: HashMap<HopId, TokenBucket>,
}

impl Injector {
    /// Works with `faults` from now on, its random choices starting over.
    pub fn new(faults: Faults, now: Instant) -> Self {
        Self {
            random: fastrand::Rng::with_seed(faults.seed),
            link: faults.rate.map(|rate| TokenBucket::new(rate, now)),
            paths: HashMap::new(),
            faults,
        }
    }

    /// The faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Time a frame takes.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(u64::from(self.faults.latency_us))
    }

    /// Whether a frame of the path `hop` may enter the cable now.
    pub fn admit(&mut self, hop: HopId, now: Instant) -> Admission {
        if self.faults.flow == Flow::Stalled {
            return Admission::Stalled;
        }
        let path = self.faults.ring_rate.map(|rate| {
            let path = self.paths.entry(hop);
            path.or_insert_with(|| TokenBucket::new(rate, now))
        });
        let mut buckets = path.into_iter().chain(&mut self.link);
        if buckets.all(|bucket| bucket.is_open(now)) {
            Admission::Open
        } else {
            Admission::Wait
        }
    }

    /// Decides on the next frame, of `len` bytes, which enters the cable by the path `hop`.
    pub fn decide(&mut self, hop: HopId, len: usize) -> Fate {
        for bucket in self.paths.get_mut(&hop).into_iter().chain(&mut self.link) {
            bucket.take(len);
        }
        if self.hits(self.faults.lose_one_in) {
            return Fate::Lost;
        }
        let damage = if self.hits(self.faults.corrupt_one_in) {
            self.damage(len)
        } else {
            Damage::new()
        };
        let signal = if self.hits(self.faults.late_interrupt_one_in) {
            Signal::Late
        } else {
            Signal::AsAsked
        };
        Fate::Arrives { damage, signal }
    }

    fn hits(&mut self, one_in: Option<NonZeroU32>) -> bool {
        one_in.is_some_and(|one_in| self.random.u32(0..one_in.get()) == 0)
    }

    fn damage(&mut self, len: usize) -> Damage {
        let flips = self.random.usize(1..=MAX_FLIPS);
        (0..flips)
            .map(|_| (self.random.usize(0..len), self.random.u8(1..)))
            .collect()
    }
}

/// Bytes that may pass now. A frame passes while there are any, and leaves a debt if it is larger,
/// so that the average is exact.
struct TokenBucket {
    rate: NonZeroU64,
    /// In bytes times nanoseconds per second: exact for any rate.
    tokens: i128,
    filled: Instant,
}

const NANOS: i128 = 1_000_000_000;

impl TokenBucket {
    fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self {
            rate,
            tokens: 0,
            filled: now,
        }
    }

    fn is_open(&mut self, now: Instant) -> bool {
        let rate = i128::from(self.rate.get());
        let elapsed = now.saturating_duration_since(self.filled).as_nanos() as i128;
        self.tokens = (self.tokens + rate * elapsed).min(rate * BURST.as_nanos() as i128);
        self.filled = now;
        self.tokens > 0
    }

    fn take(&mut self, bytes: usize) {
        self.tokens -= bytes as i128 * NANOS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 4096;
    const HOP: HopId = HopId(8);

    fn fates(faults: &Faults, frames: usize) -> Vec<Fate> {
        let mut injector = Injector::new(faults.clone(), Instant::now());
        (0..frames).map(|_| injector.decide(HOP, FRAME)).collect()
    }

    fn some_of_each() -> Faults {
        Faults {
            lose_one_in: NonZeroU32::new(10),
            corrupt_one_in: NonZeroU32::new(10),
            late_interrupt_one_in: NonZeroU32::new(10),
            seed: 42,
            ..Faults::default()
        }
    }

    #[test]
    fn the_seed_decides() {
        let faults = some_of_each();
        assert_eq!(fates(&faults, 1000), fates(&faults, 1000));
        let other = Faults {
            seed: 43,
            ..faults.clone()
        };
        assert_ne!(fates(&faults, 1000), fates(&other, 1000));
    }

    #[test]
    fn as_often_as_asked() {
        let fates = fates(&some_of_each(), 10_000);
        let count = |wanted: fn(&Fate) -> bool| fates.iter().filter(|fate| wanted(fate)).count();
        let around_a_tenth = 800..1200;
        assert!(around_a_tenth.contains(&count(|fate| *fate == Fate::Lost)));
        assert!(around_a_tenth.contains(&count(
            |fate| matches!(fate, Fate::Arrives { damage, .. } if !damage.is_empty())
        )));
        assert!(around_a_tenth.contains(&count(|fate| matches!(
            fate,
            Fate::Arrives {
                signal: Signal::Late,
                ..
            }
        ))));
    }

    #[test]
    fn a_perfect_cable() {
        let intact = Fate::Arrives {
            damage: Damage::new(),
            signal: Signal::AsAsked,
        };
        assert!(fates(&Faults::default(), 1000)
            .iter()
            .all(|fate| *fate == intact));
    }

    #[test]
    fn damage_is_within_the_frame() {
        let faults = Faults {
            corrupt_one_in: NonZeroU32::new(1),
            ..Faults::default()
        };
        let mut injector = Injector::new(faults, Instant::now());
        for len in 1..100 {
            let Fate::Arrives { damage, .. } = injector.decide(HOP, len) else {
                panic!("lost");
            };
            assert!(!damage.is_empty());
            assert!(damage.iter().all(|(at, bits)| *at < len && *bits != 0));
        }
    }

    /// Bytes that pass by each of so many paths within `duration` when the cable is looked at every `step`.
    fn passed(faults: Faults, paths: u16, duration: Duration, step: Duration) -> Vec<u64> {
        let start = Instant::now();
        let mut injector = Injector::new(faults, start);
        let mut bytes = vec![0; paths.into()];
        let mut now = start;
        while now - start < duration {
            for (hop, bytes) in (0..).map(HopId).zip(&mut bytes) {
                while injector.admit(hop, now) == Admission::Open {
                    injector.decide(hop, FRAME);
                    *bytes += FRAME as u64;
                }
            }
            now += step;
        }
        bytes
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn assert_close(bytes: u64, rate: u64) {
        let slack = rate / 100 + FRAME as u64;
        assert!(bytes.abs_diff(rate) <= slack, "{bytes} at {rate}");
    }

    #[test]
    fn the_rate_is_exact() {
        for (rate, step) in [(1_250_000_000, 50), (125_000_000, 3000), (100_000, 1000)] {
            let faults = Faults {
                rate: NonZeroU64::new(rate),
                ..Faults::default()
            };
            let bytes = passed(faults, 1, SECOND, Duration::from_micros(step));
            assert_close(bytes[0], rate);
        }
    }

    /// Bytes that pass by each of so many paths in a second: a link, and rings of a quarter of its rate.
    fn passed_by_quarters(link: u64, paths: u16) -> Vec<u64> {
        let faults = Faults {
            rate: NonZeroU64::new(link),
            ring_rate: NonZeroU64::new(link / 4),
            ..Faults::default()
        };
        passed(faults, paths, SECOND, Duration::from_micros(100))
    }

    #[test]
    fn four_rings_of_a_quarter_of_the_link_get_the_link() {
        let link = 1_000_000_000;
        let bytes = passed_by_quarters(link, 4);
        assert_close(bytes.iter().sum(), link);
        for one in bytes {
            assert_close(one, link / 4);
        }
    }

    #[test]
    fn a_ring_alone_gets_its_own_rate() {
        let link = 1_000_000_000;
        assert_close(passed_by_quarters(link, 1)[0], link / 4);
    }

    #[test]
    fn more_rings_than_the_link_carries_get_the_link() {
        let link = 1_000_000_000;
        let bytes = passed_by_quarters(link, 8);
        assert_close(bytes.iter().sum(), link);
    }

    #[test]
    fn stalled() {
        let now = Instant::now();
        let faults = Faults {
            flow: Flow::Stalled,
            ..Faults::default()
        };
        let admission = Injector::new(faults, now).admit(HOP, now);
        assert_eq!(admission, Admission::Stalled);
    }
}
