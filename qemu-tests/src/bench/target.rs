// SPDX-License-Identifier: GPL-2.0

//! What usb4_roce is meant to reach, and whether it does. All but the shares of a cable's cap are comparisons within one run:
//! machines differ.

use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::part::Part;
use super::plan::TENSOR;
use super::rings::Layout;
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

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Times,
    /// In percent.
    Percent,
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The median is as good as the goal.
    Reached,
    /// It is not.
    NotReached,
    /// There is no figure.
    NotMeasured,
    /// The figure says nothing here, for this reason.
    NotJudged(&'static str),
}

impl Verdict {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::NotReached => "NOT REACHED",
            Self::NotMeasured => "not measured",
            Self::NotJudged(reason) => reason,
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
    /// How goal and figure are written.
    pub form: Form,
    /// What was found; none if it was not measured. Of a comparison, that of each repeat's.
    pub found: Option<Spread>,
    /// Why what was found says nothing, if it does not.
    void: Option<&'static str>,
}

impl Target {
    /// What became of it.
    pub fn verdict(&self) -> Verdict {
        match (self.found, self.void) {
            (None, _) => Verdict::NotMeasured,
            (Some(_), Some(reason)) => Verdict::NotJudged(reason),
            (Some(found), None) if self.goal.met(found.median) => Verdict::Reached,
            (Some(_), None) => Verdict::NotReached,
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Bytes of a small message.
const SMALL: u64 = 64;

/// What capped cables let through on 23 November 2026: the payload's share, of 1 MiB messages.
const CAPPED: [(Cables, Verb, f64); 6] = [
    (Cables::OneCapped, Verb::Write, 1.0),
    (Cables::OneCapped, Verb::Read, 1.0),
    (Cables::OneCapped, Verb::Send, 1.0),
    (Cables::FourCapped, Verb::Write, 1.0),
    (Cables::TwoToOne, Verb::Write, 0.994),
    (Cables::OneCorrupting, Verb::Write, 0.977),
];

/// Those figures were rounded to a tenth of a percent.
const ROUNDING: f64 = 0.0005;

/// All targets of these parts of the benchmark, for hosts with `cpus` CPUs each.
pub fn all(figures: &Figures, cpus: u32, parts: &[Part]) -> Vec<Target> {
    let mut list = List {
        figures,
        targets: Vec::new(),
    };
    for part in parts {
        match part {
            Part::Speed => {
                list.stream();
                list.rxe();
                list.tcp();
                list.latency();
                list.rate(cpus);
                list.all_reduce();
                list.capped();
            }
            Part::Rings => list.rings(),
            Part::Idle => list.idle(),
            Part::Storage => list.storage(),
            Part::Cost => {}
        }
    }
    list.targets
}

/// Targets that are being put together.
struct List<'a> {
    figures: &'a Figures,
    targets: Vec<Target>,
}

impl List<'_> {
    /// Adds that `ours`, divided by `theirs`, is to meet `goal`.
    fn ratio(&mut self, goal: Goal, ours: Subject, theirs: Subject) {
        let verb = match ours.verb {
            Verb::Bytes => "",
            verb => verb.name(),
        };
        let words = [
            ours.transport.name().to_owned(),
            size(ours.bytes),
            verb.to_owned(),
            flows(ours),
            format!(
                "{}, of {}'s",
                quantity(ours.metric),
                theirs.transport.name()
            ),
        ];
        let words = words.into_iter().filter(|word| !word.is_empty());
        let ratio = |ours, theirs| ours / theirs;
        self.targets.push(Target {
            what: words.collect::<Vec<_>>().join(" "),
            goal,
            form: Form::Times,
            found: self.figures.compare(ours, theirs, ratio),
            void: None,
        });
    }

    fn stream(&mut self) {
        let ours = |metric, verb, bytes| Subject::new(metric, Transport::Roce, verb, bytes);
        let stream = |metric, bytes| Subject::new(metric, Transport::Stream, Verb::Bytes, bytes);
        self.ratio(
            Goal::AtLeast(0.85),
            ours(Metric::Bandwidth, Verb::Write, MIB),
            stream(Metric::Bandwidth, MIB),
        );
        self.ratio(
            Goal::AtMost(1.5),
            ours(Metric::Cpu, Verb::Write, MIB),
            stream(Metric::Cpu, MIB),
        );
        for verb in Verb::RDMA {
            self.ratio(
                Goal::AtLeast(0.8),
                ours(Metric::Bandwidth, verb, 64 * KIB),
                stream(Metric::Bandwidth, 64 * KIB),
            );
        }
    }

    fn rxe(&mut self) {
        let cpu = Goal::AtMost(1.0 / 8.0);
        let of = |transport, metric, verb, bytes| Subject::new(metric, transport, verb, bytes);
        for bytes in [64 * KIB, MIB] {
            for verb in [Verb::Write, Verb::Send] {
                self.ratio(
                    Goal::AtLeast(8.0),
                    of(Transport::Roce, Metric::Bandwidth, verb, bytes),
                    of(Transport::Rxe, Metric::Bandwidth, verb, bytes),
                );
            }
            self.ratio(
                cpu,
                of(Transport::Roce, Metric::Cpu, Verb::Write, bytes),
                of(Transport::Rxe, Metric::Cpu, Verb::Write, bytes),
            );
        }
    }

    fn tcp(&mut self) {
        let tcp = |transport, flows| Subject {
            flows,
            ..Subject::new(Metric::Bandwidth, transport, Verb::Bytes, MIB)
        };
        let ours = Subject::new(Metric::Bandwidth, Transport::Roce, Verb::Write, MIB);
        self.ratio(Goal::AtLeast(2.0), ours, tcp(Transport::Tcp, 1));
        for flows in [1, 4] {
            self.ratio(
                Goal::AtLeast(1.5),
                tcp(Transport::RoceTcp, flows),
                tcp(Transport::Tcp, flows),
            );
        }
    }

    fn latency(&mut self) {
        let of = |transport, verb| Subject::new(Metric::Latency, transport, verb, SMALL);
        for verb in [Verb::Write, Verb::Send] {
            let ours = of(Transport::Roce, verb);
            self.ratio(Goal::AtMost(1.2), ours, of(Transport::Stream, Verb::Bytes));
            self.ratio(Goal::AtMost(0.5), ours, of(Transport::Rxe, verb));
        }
    }

    fn rate(&mut self, cpus: u32) {
        let of = |transport, flows| Subject {
            flows,
            ..Subject::new(Metric::Rate, transport, Verb::Write, SMALL)
        };
        for flows in [1, 4] {
            self.ratio(
                Goal::AtLeast(5.0),
                of(Transport::Roce, flows),
                of(Transport::Rxe, flows),
            );
        }
        let (four, one) = (of(Transport::Roce, 4), of(Transport::Roce, 1));
        self.targets.push(Target {
            what: "usb4_roce 64 B WRITE message rate on four QPs, of that on one".to_owned(),
            goal: Goal::AtLeast(1.5),
            form: Form::Times,
            found: self.figures.compare(four, one, |four, one| four / one),
            void: (cpus < 2).then_some("takes more than one CPU"),
        });
    }

    fn all_reduce(&mut self) {
        let sums = Subject::new(Metric::AllReduce, Transport::Roce, Verb::Write, TENSOR);
        let stream = Subject::new(Metric::Duplex, Transport::Stream, Verb::Bytes, MIB);
        self.ratio(Goal::AtLeast(0.75), sums, stream);
    }

    fn idle(&mut self) {
        let (with, without) = (Subject::idle(Metric::Idle), Subject::idle(Metric::IdleBare));
        self.targets.push(Target {
            what: "CPU of an idle host with rails up, less that without the module".to_owned(),
            goal: Goal::AtMost(0.002),
            form: Form::Percent,
            found: self
                .figures
                .compare(with, without, |with, without| with - without),
            void: None,
        });
    }

    fn storage(&mut self) {
        for verb in Verb::STORAGE {
            let of = |transport| Subject::new(Metric::AccessBandwidth, transport, verb, MIB);
            self.ratio(
                Goal::AtLeast(1.0),
                of(Transport::Roce),
                of(Transport::RoceTcp),
            );
        }
    }

    fn capped(&mut self) {
        for (cables, verb, share) in CAPPED {
            let subject = Subject {
                cables,
                ..Subject::new(Metric::Goodput, Transport::Roce, verb, MIB)
            };
            self.targets.push(Target {
                what: format!(
                    "usb4_roce 1 MiB {} payload over {}, of the cap",
                    verb.name(),
                    cables.name()
                ),
                goal: Goal::AtLeast(share - ROUNDING),
                form: Form::Percent,
                found: self.figures.spread(subject),
                void: None,
            });
        }
    }

    fn rings(&mut self) {
        for layout in Layout::ALL {
            for (metric, ways, share) in RINGS {
                let subject = Subject {
                    cables: layout.cables,
                    ..Subject::new(metric, Transport::Roce, Verb::Write, MIB)
                };
                self.targets.push(Target {
                    what: format!(
                        "usb4_roce 1 MiB WRITE payload over {}{ways}, of the cap",
                        layout.cables.name()
                    ),
                    goal: Goal::AtLeast(share),
                    form: Form::Percent,
                    found: self.figures.spread(subject),
                    void: None,
                });
            }
        }
    }
}

/// What one QP is to get of cables whose rings are the limit, one way and each way of both at once.
const RINGS: [(Metric, &str, f64); 2] = [
    (Metric::Goodput, "", 0.95),
    (Metric::DuplexGoodput, ", each way of both at once", 0.9),
];

/// What a metric is of, for people.
fn quantity(metric: Metric) -> &'static str {
    match metric {
        Metric::Bandwidth | Metric::AccessBandwidth => "bandwidth",
        Metric::Duplex => "bandwidth each way",
        Metric::Goodput => "goodput",
        Metric::DuplexGoodput => "goodput each way",
        Metric::AllReduce => "all-reduce, bandwidth each way",
        Metric::Rate => "message rate",
        Metric::Latency => "latency",
        Metric::Instructions => "instructions",
        Metric::Cpu => "CPU per byte",
        Metric::Accesses => "requests per second",
        Metric::AccessCpu => "CPU per request",
        Metric::Idle | Metric::IdleBare => "CPU while idle",
    }
}

/// On how many QPs or connections it is, if that is worth saying.
fn flows(subject: Subject) -> String {
    match (subject.flows, subject.verb) {
        (1, _) => String::new(),
        (flows, Verb::Bytes) => format!("on {flows} connections"),
        (flows, _) => format!("on {flows} QPs"),
    }
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
    use super::super::plan::Extent;
    use super::super::plan::Plan;
    use super::*;

    /// The one that speaks of all `words`.
    fn find<'a>(targets: &'a [Target], words: &[&str]) -> &'a Target {
        let fits = |target: &&Target| words.iter().all(|word| target.what.contains(word));
        let found: Vec<_> = targets.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{words:?}: {found:?}");
        found[0]
    }

    #[test]
    fn goals_have_a_good_side() {
        assert!(Goal::AtLeast(0.8).met(0.8));
        assert!(!Goal::AtLeast(0.8).met(0.79));
        assert!(Goal::AtMost(0.25).met(0.25));
        assert!(!Goal::AtMost(0.25).met(0.26));
        assert!(!Goal::AtMost(0.25).met(f64::NAN));
    }

    #[test]
    fn what_was_not_measured_is_said_to_be() {
        let targets = all(&Figures::default(), 1, &Part::ALL);
        assert!(!targets.is_empty());
        for target in targets {
            assert_eq!(target.verdict(), Verdict::NotMeasured);
        }
    }

    #[test]
    fn each_is_about_something_else() {
        let targets = all(&Figures::default(), 1, &Part::ALL);
        let different: std::collections::BTreeSet<_> =
            targets.iter().map(|target| &target.what).collect();
        assert_eq!(different.len(), targets.len());
    }

    #[test]
    fn what_is_planned_is_enough_to_judge_all() {
        let mut figures = Figures::default();
        let plan = Plan::new(Extent::Quick, None);
        for subject in [plan.subjects, plan.storage].concat() {
            figures.add(subject, 1.0);
        }
        for target in all(&figures, 1, plan.parts) {
            // Other labs have these.
            let elsewhere = target.form == Form::Percent;
            assert_eq!(target.found.is_none(), elsewhere, "{}", target.what);
        }
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
            let subject = Subject::new(Metric::Bandwidth, transport, verb, MIB);
            figures.add(subject, value);
        }
        let targets = all(&figures, 1, &Part::ALL);
        let target = find(&targets, &["1 MiB WRITE bandwidth", "raw stream"]);
        let found = target.found.unwrap();
        assert_eq!((found.min, found.max), (0.8, 0.9));
        assert_eq!(target.verdict(), Verdict::Reached);
    }

    #[test]
    fn idle_hosts_are_compared_by_the_difference() {
        let mut figures = Figures::default();
        for (metric, value) in [(Metric::Idle, 0.0125), (Metric::IdleBare, 0.0115)] {
            figures.add(Subject::idle(metric), value);
        }
        let targets = all(&figures, 1, &Part::ALL);
        let target = find(&targets, &["idle host"]);
        assert!((target.found.unwrap().median - 0.001).abs() < 1e-9);
        assert_eq!(target.verdict(), Verdict::Reached);
    }

    #[test]
    fn only_what_is_run_is_judged() {
        let targets = all(&Figures::default(), 1, &[Part::Storage]);
        assert_eq!(targets.len(), Verb::STORAGE.len());
        find(&targets, &["NVMe read", "TCP over usb4r0"]);
    }

    #[test]
    fn several_qps_take_several_cpus() {
        let mut figures = Figures::default();
        for (flows, value) in [(1, 100.0), (4, 110.0)] {
            let subject = Subject {
                flows,
                ..Subject::new(Metric::Rate, Transport::Roce, Verb::Write, SMALL)
            };
            figures.add(subject, value);
        }
        let verdict = |cpus| find(&all(&figures, cpus, &Part::ALL), &["of that on one"]).verdict();
        assert!(matches!(verdict(1), Verdict::NotJudged(_)));
        assert_eq!(verdict(2), Verdict::NotReached);
    }

    #[test]
    fn capped_cables_are_judged_to_a_tenth_of_a_percent() {
        let mut figures = Figures::default();
        for (cables, value) in [(Cables::TwoToOne, 0.9936), (Cables::OneCorrupting, 0.9764)] {
            let subject = Subject {
                cables,
                ..Subject::new(Metric::Goodput, Transport::Roce, Verb::Write, MIB)
            };
            figures.add(subject, value);
        }
        let targets = all(&figures, 1, &Part::ALL);
        assert_eq!(find(&targets, &["2:1"]).verdict(), Verdict::Reached);
        assert_eq!(
            find(&targets, &["corrupted"]).verdict(),
            Verdict::NotReached
        );
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(64), "64 B");
        assert_eq!(size(64 * KIB), "64 KiB");
        assert_eq!(size(4 * MIB), "4 MiB");
    }
}
