// SPDX-License-Identifier: GPL-2.0

//! What is measured, and how often.

use std::time::Duration;

use super::figure::Cables;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the targets need.
    Quick,
    /// All sizes.
    Full,
}

/// How often each is measured, where nothing else is asked for: enough for a median that one odd repeat does not move.
const REPEATS: u32 = 5;

/// The same where it has to be quick.
const QUICK_REPEATS: u32 = 3;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What is measured, and how often.
pub struct Plan {
    /// What is measured over one cable as fast as the emulation. What is compared is measured one after the other.
    pub subjects: Vec<Subject>,
    /// Message sizes for instructions, in bytes.
    pub cost: Vec<u64>,
    /// How often each is measured.
    pub repeats: u32,
    /// How long one measurement should take.
    pub goal: Duration,
    /// How long one measurement over capped cables should take.
    pub capped_goal: Duration,
}

/// Message sizes, in bytes, and numbers of QPs.
struct Sizes {
    bandwidth: &'static [u64],
    latency: &'static [u64],
    qps: &'static [u32],
}

impl Sizes {
    fn new(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self {
                bandwidth: &[64, 64 * KIB, MIB],
                latency: &[64],
                qps: &[1],
            },
            Extent::Full => Self {
                bandwidth: &[64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB, 4 * MIB],
                latency: &[64, 4 * KIB],
                qps: &[1, 4],
            },
        }
    }
}

impl Plan {
    /// The plan of this extent. Each is measured `repeats` times, if that is given.
    pub fn new(extent: Extent, repeats: Option<u32>) -> Self {
        Self {
            subjects: subjects(&Sizes::new(extent)),
            cost: match extent {
                Extent::Quick => vec![64, 64 * KIB, MIB],
                Extent::Full => vec![64, 4 * KIB, 64 * KIB, MIB],
            },
            repeats: repeats.unwrap_or(match extent {
                Extent::Quick => QUICK_REPEATS,
                Extent::Full => REPEATS,
            }),
            goal: Duration::from_secs(1),
            capped_goal: Duration::from_secs(5),
        }
    }
}

fn subjects(sizes: &Sizes) -> Vec<Subject> {
    let mut all = Vec::new();
    let mut add = |metric, bytes, qps: &[u32]| {
        for transport in Transport::ALL {
            let (verbs, qps): (&[Verb], _) = match transport {
                Transport::Stream | Transport::Tcp => (&[Verb::Bytes], &[1][..]),
                Transport::Roce | Transport::Rxe => (&Verb::RDMA, qps),
            };
            for &verb in verbs {
                for &qps in qps {
                    all.push(Subject {
                        metric,
                        cables: Cables::One,
                        transport,
                        verb,
                        bytes,
                        qps,
                    });
                }
            }
        }
    };
    for &bytes in sizes.latency {
        add(Metric::Latency, bytes, &[1]);
    }
    for &bytes in sizes.bandwidth {
        add(Metric::Bandwidth, bytes, sizes.qps);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_planned_twice() {
        for extent in [Extent::Quick, Extent::Full] {
            let subjects = Plan::new(extent, None).subjects;
            let different: BTreeSet<_> = subjects.iter().collect();
            assert_eq!(different.len(), subjects.len());
        }
    }

    #[test]
    fn the_number_of_repeats_can_be_chosen() {
        assert_eq!(Plan::new(Extent::Quick, None).repeats, QUICK_REPEATS);
        assert_eq!(Plan::new(Extent::Full, None).repeats, REPEATS);
        assert_eq!(Plan::new(Extent::Quick, Some(7)).repeats, 7);
    }
}
