// SPDX-License-Identifier: GPL-2.0

//! Goodput over cables of which each ring moves a share: what a queue pair gets of cables that have several streams.

use std::num::NonZeroU64;

use anyhow::Context;
use anyhow::Result;
use usb4_cable::fault::Faults;

use super::capped;
use super::figure::Cables;
use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::perftest;
use super::plan::Plan;
use super::testbed::Testbed;
use super::turn::in_turn;
use crate::building::progress::Step;

/// Cables, and the streams of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What they are called in the figures.
    pub cables: Cables,
    /// How many cables there are.
    pub count: u8,
    /// How many streams each of them has.
    pub streams: u32,
}

impl Layout {
    /// Those that are measured.
    pub const ALL: [Self; 2] = [
        Self {
            cables: Cables::FourRings,
            count: 1,
            streams: 4,
        },
        Self {
            cables: Cables::TwoByTwoRings,
            count: 2,
            streams: 2,
        },
    ];

    /// The faults of each cable, if all rings together move `total` bytes per second one way.
    fn faults(self, total: f64) -> Faults {
        let rings = f64::from(self.count) * f64::from(self.streams);
        Faults {
            ring_rate: NonZeroU64::new((total / rings) as u64),
            ..Faults::default()
        }
    }
}

/// What is measured: one way, and both ways at once.
const METRICS: [(Metric, Metric); 2] = [
    (Metric::Goodput, Metric::Bandwidth),
    (Metric::DuplexGoodput, Metric::Duplex),
];

/// Measures one QP over the rings of `layout`.
pub fn measure(
    testbed: &Testbed<'_>,
    layout: Layout,
    plan: &Plan,
    figures: &mut Figures,
) -> Result<()> {
    let total = capped::total(figures);
    let step = Step::begin(&format!(
        "goodput of {}, {:.1} MB/s in all",
        layout.cables.name(),
        total / 1e6
    ));
    let instance = testbed.instance();
    let mut control = instance.cables()?;
    for cable in &instance.topology().cables {
        control
            .set_faults(&cable.name, &layout.faults(total))
            .with_context(|| format!("set the faults of {}", cable.name))?;
    }
    for repeat in 0..plan.repeats {
        for (goodput, moved) in in_turn(&METRICS, repeat) {
            let subject = |metric| Subject {
                cables: layout.cables,
                ..Subject::new(metric, Transport::Roce, Verb::Write, capped::BYTES)
            };
            let found = perftest::measure(testbed, &subject(*moved), plan.capped_count(total))?;
            figures.add(subject(*goodput), found / total);
        }
    }
    step.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_of_the_rings_add_up() {
        for layout in Layout::ALL {
            let faults = layout.faults(12e6);
            assert_eq!(faults.ring_rate, NonZeroU64::new(3_000_000), "{layout:?}");
            assert_eq!(faults.rate, None, "the link is no limit");
        }
    }
}
