// SPDX-License-Identifier: GPL-2.0

//! What has been moved up to a moment.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::host::device::Device;
use crate::host::rail::Rail;
use crate::root::Root;
use crate::status::Throughput;

/// Bytes that have been moved up to a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Instant,
    /// Of each rail, as far as this user may see it.
    rails: BTreeMap<String, Moved>,
    /// Of queue pairs, which everybody sees.
    device: Option<Moved>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    sent: u64,
    received: u64,
}

impl Sample {
    /// Reads the counters.
    pub fn take(root: &Root) -> Self {
        let at = Instant::now();
        let rails = Rail::all(root).into_iter().filter_map(|rail| {
            let counters = &rail.details.found()?.counters;
            let moved = Moved {
                sent: counters.get("tx_bytes"),
                received: counters.get("rx_bytes"),
            };
            Some((rail.name, moved))
        });
        let device = Device::find(root);
        Self {
            at,
            rails: rails.collect(),
            device: device.map(|device| Moved {
                sent: device.counter("sent_bytes"),
                received: device.counter("received_bytes"),
            }),
        }
    }

    /// What a rail has moved since `before`.
    pub fn of_rail_since(&self, before: &Self, name: &str) -> Option<Throughput> {
        let (now, then) = (self.rails.get(name)?, before.rails.get(name)?);
        Some(self.throughput(before, *now, *then))
    }

    /// What all rails have moved since `before`; if this user may not see them, what queue pairs have.
    pub fn since(&self, before: &Self) -> Option<Throughput> {
        if self.rails.is_empty() {
            let (now, then) = (self.device?, before.device?);
            return Some(self.throughput(before, now, then));
        }
        let rails = self.rails.keys();
        let each = rails.filter_map(|name| self.of_rail_since(before, name));
        Some(each.fold(Throughput::default(), |sum, one| Throughput {
            out_bps: sum.out_bps + one.out_bps,
            in_bps: sum.in_bps + one.in_bps,
        }))
    }

    fn throughput(&self, before: &Self, now: Moved, then: Moved) -> Throughput {
        const BITS: f64 = 8.0;
        let seconds = (self.at - before.at).as_secs_f64();
        // A rail that was made anew counts from zero.
        let rate = |now: u64, then: u64| match seconds > 0.0 {
            true => now.saturating_sub(then) as f64 * BITS / seconds,
            false => 0.0,
        };
        Throughput {
            out_bps: rate(now.sent, then.sent),
            in_bps: rate(now.received, then.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(at: Instant, sent: u64, received: u64) -> Sample {
        Sample {
            at,
            rails: BTreeMap::from([("0-1.0".to_owned(), Moved { sent, received })]),
            device: None,
        }
    }

    #[test]
    fn rates_are_what_was_added() {
        let begin = Instant::now();
        let before = sample(begin, 1000, 70);
        let after = sample(begin + Duration::from_millis(500), 2000, 70);
        let expected = Some(Throughput {
            out_bps: 16_000.0,
            in_bps: 0.0,
        });
        assert_eq!(after.since(&before), expected);
        assert_eq!(after.of_rail_since(&before, "0-1.0"), expected);
        assert_eq!(after.of_rail_since(&before, "0-3.0"), None);
    }

    #[test]
    fn what_begins_anew_is_no_huge_number() {
        let begin = Instant::now();
        let before = sample(begin, u64::MAX, 0);
        let after = sample(begin + Duration::from_secs(1), 5, 0);
        assert_eq!(after.since(&before).unwrap().out_bps, 0.0);
    }
}
