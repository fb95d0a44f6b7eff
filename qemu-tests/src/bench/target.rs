// SPDX-License-Identifier: GPL-2.0

//! What usb4_roce is meant to reach, and whether it does. All but the shares of a cable's cap are ratios within one run: machines
//! differ.

use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::spread::Spread;

/// Which side of the goal is the good one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Goal {
    /// Whether `value` is as good as the goal or better.
    pub fn met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(least) => value >= least,
            Goal::AtMost(most) => value <= most,
        }
    }
}

/// A goal and what was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is about.
    pub what: String,
    /// The goal.
    pub goal: Goal,
    /// What was found; none if it was not measured. Of a comparison, that of each repeat's.
    pub found: Option<Spread>,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// All targets.
pub fn all(figures: &Figures) -> Vec<Target> {
    let mut targets = Vec::new();
    let goodput = [
        (Cables::OneCapped, Verb::Write, 0.96),
        (Cables::OneCapped, Verb::Read, 0.96),
        (Cables::OneCapped, Verb::Send, 0.96),
        (Cables::FourCapped, Verb::Write, 0.95),
        (Cables::TwoToOne, Verb::Write, 0.93),
        (Cables::OneCorrupting, Verb::Write, 0.90),
    ];
    for (cables, verb, least) in goodput {
        targets.push(Target {
            what: format!(
                "1 MiB {} payload over {}, of the cap",
                verb.name(),
                cables.name()
            ),
            goal: Goal::AtLeast(least),
            found: figures.spread(Subject {
                metric: Metric::Goodput,
                cables,
                transport: Transport::Roce,
                verb,
                bytes: MIB,
                qps: 1,
            }),
        });
    }
    let of = |metric, transport, bytes| {
        let verb = match transport {
            Transport::Stream | Transport::Tcp => Verb::Bytes,
            Transport::Roce | Transport::Rxe => Verb::Write,
        };
        Subject {
            metric,
            cables: Cables::One,
            transport,
            verb,
            bytes,
            qps: 1,
        }
    };
    let mut ratio = |what: &str, goal, metric, bytes, other: Transport| {
        let ours = of(metric, Transport::Roce, bytes);
        let theirs = of(metric, other, bytes);
        let size = size(bytes);
        targets.push(Target {
            what: format!("{size} WRITE {what}, of {}'s", other.name()),
            goal,
            found: figures.compare(ours, theirs, |ours, theirs| ours / theirs),
        });
    };
    let bandwidth = "bandwidth";
    let (stream, rxe, tcp) = (Transport::Stream, Transport::Rxe, Transport::Tcp);
    ratio(
        bandwidth,
        Goal::AtLeast(0.8),
        Metric::Bandwidth,
        MIB,
        stream,
    );
    ratio(
        bandwidth,
        Goal::AtLeast(6.0),
        Metric::Bandwidth,
        64 * KIB,
        rxe,
    );
    ratio(bandwidth, Goal::AtLeast(6.0), Metric::Bandwidth, MIB, rxe);
    ratio(bandwidth, Goal::AtLeast(1.5), Metric::Bandwidth, MIB, tcp);
    let latency = "latency";
    ratio(latency, Goal::AtMost(1.0 / 3.0), Metric::Latency, 64, rxe);
    ratio(latency, Goal::AtMost(1.5), Metric::Latency, 64, stream);
    let cost = "instructions";
    ratio(
        cost,
        Goal::AtMost(0.25),
        Metric::Instructions,
        64 * KIB,
        rxe,
    );
    ratio(cost, Goal::AtMost(0.25), Metric::Instructions, MIB, rxe);
    targets
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= MIB && bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        bytes if bytes >= KIB && bytes % KIB == 0 => format!("{} KiB", bytes / KIB),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_have_a_good_side() {
        assert!(Goal::AtLeast(0.8).met(0.8));
        assert!(!Goal::AtLeast(0.8).met(0.79));
        assert!(Goal::AtMost(0.25).met(0.25));
        assert!(!Goal::AtMost(0.25).met(0.26));
        assert!(!Goal::AtMost(0.25).met(f64::NAN));
    }

    #[test]
    fn what_was_not_measured_has_no_value() {
        let targets = all(&Figures::default());
        assert!(!targets.is_empty());
        assert!(targets.iter().all(|target| target.found.is_none()));
    }

    #[test]
    fn what_is_compared_is_of_the_same_repeat() {
        let mut figures = Figures::default();
        // The machine becomes ten times as fast.
        for (transport, verb, value) in [
            (Transport::Roce, Verb::Write, 90.0),
            (Transport::Stream, Verb::Bytes, 100.0),
            (Transport::Roce, Verb::Write, 800.0),
            (Transport::Stream, Verb::Bytes, 1000.0),
        ] {
            let subject = Subject {
                metric: Metric::Bandwidth,
                cables: Cables::One,
                transport,
                verb,
                bytes: MIB,
                qps: 1,
            };
            figures.add(subject, value);
        }
        let found: Vec<_> = all(&figures).iter().filter_map(|t| t.found).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].min, found[0].max), (0.8, 0.9));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(64), "64 B");
        assert_eq!(size(64 * KIB), "64 KiB");
        assert_eq!(size(4 * MIB), "4 MiB");
    }
}
