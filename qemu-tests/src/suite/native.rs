// SPDX-License-Identifier: GPL-2.0

//! The suites on native hosts: everything but what needs more than such a host has.

use std::collections::BTreeMap;
use std::fmt;

use super::kunit;
use super::Lab;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::kernel_tree::Kernel;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::extent::Extent;
use crate::hosts::shape::cpus;

/// What a test needs that native hosts do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A power button, and devices that keep their state while the host sleeps.
    Sleep,
    /// The kernel's checkers, or several CPUs at the same moment.
    Checkers,
    /// The distribution's kernel, for which the package is, or drivers that only it has.
    StockKernel,
    /// The instructions of a processor which is chosen.
    Processor,
    /// A firmware that names the machine.
    Firmware,
    /// PCI functions beside the NHIs.
    OtherFunctions,
    /// The speed of the machine. Native hosts have it; emulated ones take much longer.
    Speed,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sleep => "a host that can sleep",
            Self::Checkers => "the debug kernel's checkers",
            Self::StockKernel => "the distribution's kernel",
            Self::Processor => "a processor that is chosen",
            Self::Firmware => "a firmware that names the machine",
            Self::OtherFunctions => "PCI functions of other kinds",
            Self::Speed => "a host at the speed of the machine (or --long)",
        })
    }
}

/// Suites on native hosts, and what is not among them.
pub struct Lane {
    /// The suites.
    pub suites: Vec<Suite>,
    /// Names of the tests that were left out, and what they need.
    pub left_out: Vec<(String, Need)>,
}

impl Lane {
    /// How many tests whose name `wanted` wants were left out, by what they need.
    pub fn count_left_out(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<Need, usize> {
        let mut counts = BTreeMap::new();
        for (_, need) in self.left_out.iter().filter(|(name, _)| wanted(name)) {
            *counts.entry(*need).or_default() += 1;
        }
        counts
    }

    fn map_labs(mut self, change: fn(Lab) -> Lab) -> Self {
        for suite in &mut self.suites {
            suite.lab = change(suite.lab);
        }
        self
    }
}

/// `suites` on native hosts.
pub fn lane(suites: Vec<Suite>) -> Lane {
    let has = |need: Need| need == Need::Speed;
    divide(suites, |suite, test| {
        let need = need_of(suite.name, &suite.lab).or(test.needs);
        need.filter(|need| !has(*need))
    })
    .map_labs(native)
}

/// `suites` on emulated hosts, whose tests that take too long there are left out unless there is time.
pub fn emulated(suites: Vec<Suite>, extent: Extent) -> Lane {
    divide(suites, |_, test| match extent {
        Extent::Short => test.needs.filter(|need| *need == Need::Speed),
        Extent::Long => None,
    })
}

/// `suites` without the tests that `lacks` says something is lacking for.
fn divide(suites: Vec<Suite>, lacks: impl Fn(&Suite, &Test) -> Option<Need>) -> Lane {
    let mut lane = Lane {
        suites: Vec::new(),
        left_out: Vec::new(),
    };
    for mut suite in suites {
        let mut kept = Vec::new();
        for test in std::mem::take(&mut suite.tests) {
            match lacks(&suite, &test) {
                Some(need) => {
                    let name = format!("{}/{}", suite.name, test.name);
                    lane.left_out.push((name, need));
                }
                None => kept.push(test),
            }
        }
        if !kept.is_empty() {
            suite.tests = kept;
            lane.suites.push(suite);
        }
    }
    lane
}

/// What the lab of the suite `name` has that native hosts lack.
fn need_of(name: &str, lab: &Lab) -> Option<Need> {
    match lab {
        // The native kernel has KUnit too.
        _ if name == kunit::NAME => None,
        Lab {
            kernel: Kernel::Debug,
            ..
        } => Some(Need::Checkers),
        Lab {
            subject: Subject::Package | Subject::Dkms,
            ..
        } => Some(Need::StockKernel),
        Lab {
            processor: CpuModel::Real,
            ..
        } => Some(Need::Processor),
        _ => None,
    }
}

fn native(lab: Lab) -> Lab {
    Lab {
        kernel: Kernel::Native,
        cpus: cpus(Kernel::Native),
        ..lab
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::all;

    fn names(suites: &[Suite]) -> Vec<String> {
        suites.iter().flat_map(Suite::names).collect()
    }

    #[test]
    fn nothing_is_lost() {
        for extent in [Extent::Short, Extent::Long] {
            let lane = lane(all(extent));
            let mut found = names(&lane.suites);
            found.extend(lane.left_out.into_iter().map(|(name, _)| name));
            let mut expected = names(&all(extent));
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn suites_without_needs_are_whole() {
        let lane = lane(all(Extent::Short));
        let native = names(&lane.suites);
        for suite in all(Extent::Short) {
            if ["verbs", "verbs-four-rails", "faults", "kunit"].contains(&suite.name) {
                for test in suite.tests {
                    let is_native = native.contains(&format!("{}/{}", suite.name, test.name));
                    let lacking = test.needs.filter(|need| *need != Need::Speed);
                    assert_eq!(is_native, lacking.is_none(), "{}", test.name);
                }
            }
        }
        assert!(lane
            .suites
            .iter()
            .all(|suite| suite.lab.kernel == Kernel::Native && suite.lab.cpus == 1));
    }

    #[test]
    fn what_takes_too_long_for_emulated_hosts_is_left_to_native_ones() {
        const SUITES: [&str; 9] = [
            "beside-rxe/",
            "conformance/",
            "containers/",
            "programs/",
            "llama-programs/",
            "nccl-programs/",
            "new-user/",
            "storage/",
            "storage-two-rails/",
        ];
        let takes_long = |name: &String| SUITES.iter().any(|suite| name.starts_with(suite));
        let short = emulated(all(Extent::Short), Extent::Short);
        assert!(!names(&short.suites).iter().any(takes_long));
        let is_expected = |name: &String| {
            let others = [
                "verbs/",
                "ip/",
                "ip-two-rails/",
                "faults/",
                "mesh/",
                "peer/",
                "user-tool/",
                "speed-40g/",
            ];
            takes_long(name) || others.iter().any(|suite| name.starts_with(suite))
        };
        assert!(short.left_out.iter().all(|(name, _)| is_expected(name)));
        let long = emulated(all(Extent::Long), Extent::Long);
        assert!(names(&long.suites).iter().any(takes_long));
        assert!(long.left_out.is_empty());
        let native = lane(all(Extent::Short));
        assert!(names(&native.suites).iter().any(takes_long));
    }

    #[test]
    fn what_is_left_out_is_counted_by_its_reason() {
        let lane = lane(all(Extent::Short));
        let counts = lane.count_left_out(|name| name.starts_with("power/"));
        let power = all(Extent::Short)
            .into_iter()
            .find(|suite| suite.name == "power");
        let expected = BTreeMap::from([(Need::Sleep, power.unwrap().tests.len())]);
        assert_eq!(counts, expected);
    }
}
