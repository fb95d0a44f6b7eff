// SPDX-License-Identifier: GPL-2.0

//! What is measured, and how often.

use std::time::Duration;

use super::capped;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::part::Part;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the targets need.
    Quick,
    /// All sizes.
    Full,
    /// Disks and files of another host, and nothing else.
    Storage,
}

/// How often each is measured, where nothing else is asked for: enough for a median that one odd repeat does not move.
const REPEATS: u32 = 5;

/// The same where it has to be quick.
const QUICK_REPEATS: u32 = 3;

/// Least number of messages of a measurement over capped cables: beside them, what only the first and last one meet is little.
const LEAST_CAPPED: u64 = 30;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What is measured, and how often.
pub struct Plan {
    /// The parts of the benchmark that are run.
    pub parts: &'static [Part],
    /// What is measured over one cable as fast as the emulation. What is compared is measured one after the other.
    pub subjects: Vec<Subject>,
    /// Message sizes for instructions, in bytes.
    pub cost: Vec<u64>,
    /// What is measured of disks and files of another host.
    pub storage: Vec<Subject>,
    /// How often each is measured.
    pub repeats: u32,
    /// How long one measurement should take.
    pub goal: Duration,
    /// How long one measurement over capped cables should take.
    pub capped_goal: Duration,
    /// How long a disk or a file is read or written.
    pub storage_goal: Duration,
    /// How long hosts that have nothing to do are looked at.
    pub idle: Duration,
}

impl Plan {
    /// The plan of this extent. Each is measured `repeats` times, if that is given.
    pub fn new(extent: Extent, repeats: Option<u32>) -> Self {
        Self {
            parts: match extent {
                Extent::Quick => &[Part::Speed, Part::Rings, Part::Idle, Part::Storage],
                Extent::Full => &Part::ALL,
                Extent::Storage => &[Part::Storage],
            },
            subjects: subjects(extent),
            cost: vec![64, 4 * KIB, 64 * KIB, MIB],
            storage: storage(extent),
            repeats: repeats.unwrap_or(match extent {
                Extent::Quick => QUICK_REPEATS,
                Extent::Full | Extent::Storage => REPEATS,
            }),
            goal: Duration::from_secs(1),
            capped_goal: Duration::from_secs(5),
            storage_goal: Duration::from_secs(3),
            idle: Duration::from_secs(10),
        }
    }

    /// How many messages of [`capped::BYTES`] a measurement takes where `rate` bytes per second are let through.
    pub fn capped_count(&self, rate: f64) -> u64 {
        let count = self.capped_goal.as_secs_f64() * rate / capped::BYTES as f64;
        (count as u64).max(LEAST_CAPPED)
    }
}

/// A way of moving messages: what by, how, and on how many QPs or connections.
type Way = (Transport, Verb, u32);

/// What the targets are about.
const LATENCY: &[Way] = &[
    (Transport::Stream, Verb::Bytes, 1),
    (Transport::Roce, Verb::Write, 1),
    (Transport::Rxe, Verb::Write, 1),
    (Transport::Roce, Verb::Send, 1),
    (Transport::Rxe, Verb::Send, 1),
];
const BANDWIDTH: &[Way] = &[
    (Transport::Stream, Verb::Bytes, 1),
    (Transport::Roce, Verb::Write, 1),
    (Transport::Rxe, Verb::Write, 1),
    (Transport::Roce, Verb::Send, 1),
    (Transport::Rxe, Verb::Send, 1),
    (Transport::Roce, Verb::Read, 1),
];
const TCP: &[Way] = &[
    (Transport::Tcp, Verb::Bytes, 1),
    (Transport::RoceTcp, Verb::Bytes, 1),
    (Transport::Tcp, Verb::Bytes, 4),
    (Transport::RoceTcp, Verb::Bytes, 4),
];
const RATE: &[Way] = &[
    (Transport::Roce, Verb::Write, 1),
    (Transport::Rxe, Verb::Write, 1),
    (Transport::Roce, Verb::Write, 4),
    (Transport::Rxe, Verb::Write, 4),
];
const DUPLEX: &[Way] = &[
    (Transport::Stream, Verb::Bytes, 1),
    (Transport::Roce, Verb::Write, 1),
    (Transport::Rxe, Verb::Write, 1),
];
const CPU: &[Way] = &[
    (Transport::Stream, Verb::Bytes, 1),
    (Transport::Roce, Verb::Write, 1),
    (Transport::Rxe, Verb::Write, 1),
];
const ALL_REDUCE: &[Way] = &[(Transport::Roce, Verb::Write, 1)];

/// What is measured besides if there is time.
const MORE_LATENCY: &[Way] = &[
    (Transport::Roce, Verb::Read, 1),
    (Transport::Rxe, Verb::Read, 1),
    (Transport::Tcp, Verb::Bytes, 1),
    (Transport::RoceTcp, Verb::Bytes, 1),
];
const MORE_BANDWIDTH: &[Way] = &[
    (Transport::Rxe, Verb::Read, 1),
    (Transport::Roce, Verb::Write, 4),
    (Transport::Rxe, Verb::Write, 4),
];
const MORE_RATE: &[Way] = &[
    (Transport::Roce, Verb::Send, 1),
    (Transport::Rxe, Verb::Send, 1),
    (Transport::Roce, Verb::Send, 4),
    (Transport::Rxe, Verb::Send, 4),
];
const MORE_DUPLEX: &[Way] = &[
    (Transport::Roce, Verb::Send, 1),
    (Transport::Roce, Verb::Read, 1),
    (Transport::Tcp, Verb::Bytes, 1),
    (Transport::RoceTcp, Verb::Bytes, 1),
];

const MORE_CPU: &[Way] = &[
    (Transport::Roce, Verb::Send, 1),
    (Transport::Rxe, Verb::Send, 1),
    (Transport::Roce, Verb::Read, 1),
    (Transport::Rxe, Verb::Read, 1),
    (Transport::Tcp, Verb::Bytes, 1),
    (Transport::RoceTcp, Verb::Bytes, 1),
];

/// Bytes of the tensor that is summed.
pub const TENSOR: u64 = 64 * MIB;

fn subjects(extent: Extent) -> Vec<Subject> {
    let mut all = Vec::new();
    let mut add = |metric, bytes, ways: &[Way]| {
        let subjects = ways.iter().map(|&(transport, verb, flows)| Subject {
            flows,
            ..Subject::new(metric, transport, verb, bytes)
        });
        all.extend(subjects);
    };
    add(Metric::Latency, 64, LATENCY);
    add(Metric::Rate, 64, RATE);
    for bytes in [64 * KIB, MIB] {
        add(Metric::Bandwidth, bytes, BANDWIDTH);
        add(Metric::Cpu, bytes, CPU);
    }
    add(Metric::Bandwidth, MIB, TCP);
    add(Metric::Duplex, MIB, DUPLEX);
    add(Metric::AllReduce, TENSOR, ALL_REDUCE);
    if extent == Extent::Full {
        add(Metric::Latency, 64, MORE_LATENCY);
        add(Metric::Latency, 4 * KIB, LATENCY);
        add(Metric::Latency, 4 * KIB, MORE_LATENCY);
        add(Metric::Rate, 64, MORE_RATE);
        for bytes in [64 * KIB, MIB] {
            add(Metric::Bandwidth, bytes, MORE_BANDWIDTH);
            add(Metric::Cpu, bytes, MORE_CPU);
        }
        add(Metric::Bandwidth, 64 * KIB, TCP);
        for bytes in [64, 4 * KIB, 4 * MIB] {
            add(Metric::Bandwidth, bytes, BANDWIDTH);
            add(Metric::Bandwidth, bytes, MORE_BANDWIDTH);
            add(Metric::Bandwidth, bytes, TCP);
        }
        add(Metric::Duplex, MIB, MORE_DUPLEX);
    }
    all
}

/// By what disks and files are reached: what is compared, and what else there is.
const BORROWED: &[Transport] = &[Transport::Roce, Transport::RoceTcp];
const MORE_BORROWED: &[Transport] = &[Transport::Roce, Transport::RoceTcp, Transport::Rxe];

fn storage(extent: Extent) -> Vec<Subject> {
    let (sizes, transports): (&[_], _) = match extent {
        Extent::Quick => (&[(Metric::AccessBandwidth, MIB)], BORROWED),
        Extent::Full | Extent::Storage => (
            &[(Metric::Accesses, 4 * KIB), (Metric::AccessBandwidth, MIB)],
            MORE_BORROWED,
        ),
    };
    let mut all = Vec::new();
    for &(metric, bytes) in sizes {
        for verb in Verb::STORAGE {
            let subject = |&transport| Subject::new(metric, transport, verb, bytes);
            all.extend(transports.iter().map(subject));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_planned_twice() {
        for extent in [Extent::Quick, Extent::Full, Extent::Storage] {
            let Plan {
                subjects, storage, ..
            } = Plan::new(extent, None);
            let subjects = [subjects, storage].concat();
            let different: BTreeSet<_> = subjects.iter().collect();
            assert_eq!(different.len(), subjects.len());
        }
    }

    #[test]
    fn what_is_quick_is_a_part_of_everything() {
        let quick = Plan::new(Extent::Quick, None);
        let full = Plan::new(Extent::Full, None);
        let contains =
            |all: &[Subject], some: &[Subject]| some.iter().all(|subject| all.contains(subject));
        assert!(contains(&full.subjects, &quick.subjects));
        assert!(contains(&full.storage, &quick.storage));
        assert!(quick.parts.iter().all(|part| full.parts.contains(part)));
    }

    #[test]
    fn the_number_of_repeats_can_be_chosen() {
        assert_eq!(Plan::new(Extent::Quick, None).repeats, QUICK_REPEATS);
        assert_eq!(Plan::new(Extent::Full, None).repeats, REPEATS);
        assert_eq!(Plan::new(Extent::Quick, Some(7)).repeats, 7);
    }
}
