// SPDX-License-Identifier: GPL-2.0

//! Goodput over cables of a known rate: far below what the emulation moves, so that the cables are what limits it.

use std::num::NonZeroU32;
use std::num::NonZeroU64;

use anyhow::Context;
use anyhow::Result;
use usb4_cable::fault::Faults;

use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::meter;
use super::perftest;
use super::plan::Plan;
use super::testbed::Testbed;
use super::turn::in_turn;
use crate::building::progress::Step;
use crate::roce;

/// Bytes of a message.
pub const BYTES: u64 = 1 << 20;

/// All cables together get this share of what the slowest way of moving messages reaches uncapped.
const SHARE: f64 = 0.25;

/// What a way that was not measured is taken to reach, in bytes per second.
const UNKNOWN: f64 = 10e6;

/// One frame in so many is corrupted.
const CORRUPT_ONE_IN: NonZeroU32 = NonZeroU32::new(1000).unwrap();

impl Cables {
    /// Those that are measured, in an order in which rails are only ever added.
    const CAPPED: [Self; 4] = [
        Self::OneCapped,
        Self::OneCorrupting,
        Self::TwoToOne,
        Self::FourCapped,
    ];

    /// Relative rates of the cables in use.
    fn weights(self) -> &'static [f64] {
        match self {
            Self::One | Self::FourRings | Self::TwoByTwoRings => &[],
            Self::OneCapped | Self::OneCorrupting => &[1.0],
            Self::TwoToOne => &[2.0, 1.0],
            Self::FourCapped => &[1.0, 1.0, 1.0, 1.0],
        }
    }

    /// What is measured: verbs of usb4_roce, and with the raw stream what the cable itself lets through.
    fn verbs(self) -> &'static [Verb] {
        match self {
            Self::OneCapped => &[Verb::Bytes, Verb::Write, Verb::Read, Verb::Send],
            Self::One
            | Self::OneCorrupting
            | Self::TwoToOne
            | Self::FourCapped
            | Self::FourRings
            | Self::TwoByTwoRings => &[Verb::Write],
        }
    }
}

/// The faults of each cable in use, if all together move `total` bytes per second.
fn faults(cables: Cables, total: f64) -> Vec<Faults> {
    let weights = cables.weights();
    let sum: f64 = weights.iter().sum();
    let fault = |weight: &f64| Faults {
        rate: NonZeroU64::new((total * weight / sum) as u64),
        corrupt_one_in: (cables == Cables::OneCorrupting).then_some(CORRUPT_ONE_IN),
        ..Faults::default()
    };
    weights.iter().map(fault).collect()
}

/// What all cables together get, in bytes per second.
pub fn total(figures: &Figures) -> f64 {
    let uncapped = Verb::RDMA.map(|verb| {
        let subject = Subject::new(Metric::Bandwidth, Transport::Roce, verb, BYTES);
        figures
            .spread(subject)
            .map_or(UNKNOWN, |found| found.median)
    });
    uncapped.into_iter().fold(f64::INFINITY, f64::min) * SHARE
}

/// Measures every way of capping the cables.
pub fn measure(testbed: &Testbed<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let total = total(figures);
    for cables in Cables::CAPPED {
        let step = Step::begin(&format!(
            "goodput of {}, {:.1} MB/s in all",
            cables.name(),
            total / 1e6
        ));
        roce::use_rails(testbed.instance(), cables.weights().len())?;
        set(testbed, &faults(cables, total))?;
        let measured = one(testbed, plan, cables, total, figures);
        // Cables that are used again have to be perfect again, also after a failure.
        set(testbed, &vec![Faults::default(); cables.weights().len()])?;
        measured?;
        step.done();
    }
    Ok(())
}

fn set(testbed: &Testbed<'_>, faults: &[Faults]) -> Result<()> {
    let instance = testbed.instance();
    let mut control = instance.cables()?;
    for (cable, faults) in instance.topology().cables.iter().zip(faults) {
        control
            .set_faults(&cable.name, faults)
            .with_context(|| format!("set the faults of {}", cable.name))?;
    }
    Ok(())
}

fn one(
    testbed: &Testbed<'_>,
    plan: &Plan,
    cables: Cables,
    total: f64,
    figures: &mut Figures,
) -> Result<()> {
    let subject = |transport, verb| Subject {
        cables,
        ..Subject::new(Metric::Goodput, transport, verb, BYTES)
    };
    let count = plan.capped_count(total);
    for repeat in 0..plan.repeats {
        for &verb in in_turn(cables.verbs(), repeat) {
            let (transport, found) = match verb {
                Verb::Bytes => {
                    let bandwidth = Subject {
                        metric: Metric::Bandwidth,
                        ..subject(Transport::Stream, verb)
                    };
                    (Transport::Stream, meter::measure(testbed, &bandwidth)?)
                }
                _ => {
                    let bandwidth = Subject {
                        metric: Metric::Bandwidth,
                        ..subject(Transport::Roce, verb)
                    };
                    let found = perftest::measure(testbed, &bandwidth, count)?;
                    (Transport::Roce, found)
                }
            };
            figures.add(subject(transport, verb), found / total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_add_up() {
        for cables in Cables::CAPPED {
            let faults = faults(cables, 12e6);
            let sum: u64 = faults.iter().filter_map(|f| f.rate).map(u64::from).sum();
            assert!(sum.abs_diff(12_000_000) <= 4, "{cables:?}: {sum}");
        }
        let rates: Vec<_> = faults(Cables::TwoToOne, 12e6)
            .iter()
            .filter_map(|f| f.rate)
            .map(u64::from)
            .collect();
        assert_eq!(rates, [8_000_000, 4_000_000]);
    }

    #[test]
    fn only_the_corrupting_cable_corrupts() {
        for cables in Cables::CAPPED {
            let corrupts = faults(cables, 1e6)
                .iter()
                .any(|fault| fault.corrupt_one_in.is_some());
            assert_eq!(corrupts, cables == Cables::OneCorrupting, "{cables:?}");
        }
    }

    #[test]
    fn rails_are_only_added() {
        let rails = Cables::CAPPED.map(|cables| cables.weights().len());
        assert!(rails.is_sorted());
    }
}
