// SPDX-License-Identifier: GPL-2.0

//! Test suites: tests which share a running lab.

use std::time::Duration;

use anyhow::Result;

use crate::building::addition::Addition;
use crate::building::kernel_tree::Kernel;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::extent::Extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::shape::CPUS;
use crate::hosts::stage::Stage;
use crate::roce;
use native::Need;

pub mod beside_rxe;
pub mod both_devices;
pub mod conformance;
pub mod containers;
pub mod crash;
pub mod debug;
mod dkms;
pub mod faults;
pub mod hostile;
pub mod ip;
pub mod kunit;
pub mod life;
pub mod mesh;
pub mod native;
pub mod network;
pub mod new_user;
pub mod packaging;
pub mod peer;
pub mod plug;
pub mod power;
pub mod programs;
pub mod rest;
pub mod rings;
pub mod speed;
pub mod storage;
pub mod stream;
pub mod stress;
pub mod tools;
pub mod user_tool;
pub mod verbs;

/// How a test that did not fail ended.
pub enum Outcome {
    /// What it checks is so.
    Passed,
    /// It is, and the lab cannot serve another test.
    PassedAndSpent,
}

/// A test.
pub struct Test {
    /// Its name within the suite.
    pub name: &'static str,
    /// The lab is killed when the test runs longer.
    pub limit: Duration,
    /// Does it.
    pub run: fn(&Stage<'_>) -> Result<Outcome>,
    /// What it needs beyond what any host has.
    pub needs: Option<Need>,
}

impl Test {
    /// A test which does `run`, and may take as long as `limit`.
    pub fn new(
        name: &'static str,
        limit: Duration,
        run: fn(&Stage<'_>) -> Result<Outcome>,
    ) -> Self {
        Self {
            name,
            limit,
            run,
            needs: None,
        }
    }

    /// The same test, which needs `need`.
    pub fn needing(self, need: Need) -> Self {
        Self {
            needs: Some(need),
            ..self
        }
    }
}

/// What has to be built for a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The unmodified drivers.
    Drivers,
    /// The module of the checkout, and the verbs clients.
    Module,
    /// The module of the checkout, and public test programs.
    Conformance,
    /// The module, and roots of other releases.
    Containers,
    /// What `make install` installs.
    Package,
    /// The module of the checkout, and the program for users.
    UserTool,
    /// The module, and programs on hosts that have an addition to their root.
    Programs(Addition),
    /// The packages of the checkout, on hosts that have nothing of it.
    DebianPackages,
    /// The module as DKMS has built it, and the verbs clients.
    Dkms,
}

impl Subject {
    /// What the hosts' root has beside what it always has.
    pub fn addition(self) -> Option<Addition> {
        match self {
            Self::Drivers
            | Self::Module
            | Self::Conformance
            | Self::Containers
            | Self::Package
            | Self::UserTool
            | Self::Dkms => None,
            Self::Programs(addition) => Some(addition),
            Self::DebianPackages => Some(Addition::PlainDebian),
        }
    }
}

/// The lab that a suite needs.
#[derive(Clone, Copy)]
pub struct Lab {
    /// Hosts and cables.
    pub fabric: Fabric,
    /// The hosts' kernel.
    pub kernel: Kernel,
    /// The hosts' processor, under TCG.
    pub processor: CpuModel,
    /// CPUs of each host.
    pub cpus: u32,
    /// What is tested.
    pub subject: Subject,
    /// Makes a freshly booted lab ready for the tests.
    pub prepare: fn(&Stage<'_>) -> Result<()>,
}

impl Lab {
    /// Two hosts and a cable, with the module at work.
    pub const MODULE: Self = Self {
        fabric: Fabric::PAIR,
        kernel: Kernel::Stock,
        processor: CpuModel::Fast,
        cpus: CPUS,
        subject: Subject::Module,
        prepare: roce::prepare,
    };

    /// Two hosts and a cable, with nothing but the drivers.
    pub const DRIVERS: Self = Self {
        subject: Subject::Drivers,
        prepare: as_booted,
        ..Self::MODULE
    };
}

impl PartialEq for Lab {
    /// Whether one can serve for the other.
    fn eq(&self, other: &Self) -> bool {
        let comparable = |lab: &Self| {
            let Self {
                fabric,
                kernel,
                processor,
                cpus,
                subject,
                prepare: _,
            } = *lab;
            (fabric, kernel, processor, cpus, subject)
        };
        // Two functions that do the same may count as one or not: both are right.
        comparable(self) == comparable(other) && std::ptr::fn_addr_eq(self.prepare, other.prepare)
    }
}

/// Tests which share a lab; the suites that follow share it too if they ask for the same.
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// The lab.
    pub lab: Lab,
    /// The tests, in the order in which they run.
    pub tests: Vec<Test>,
}

impl Suite {
    /// The whole names of its tests.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let name = |test: &Test| format!("{}/{}", self.name, test.name);
        self.tests.iter().map(name)
    }
}

/// All suites, in the order in which they run: those that can share a lab one after the other, with all the tests of that extent.
pub fn all(extent: Extent) -> Vec<Suite> {
    let mut suites = vec![
        plug::suite(),
        network::suite(),
        stream::suite(),
        verbs::suite(),
        ip::suite(),
        crash::suite(),
        power::suite(),
        life::suite(),
        hostile::suite(),
        verbs::striped(),
        ip::striped(),
        faults::suite(),
        stress::suite(),
        faults::checksum(),
        rings::suite(),
        mesh::suite(),
        peer::suite(extent),
        packaging::suite(),
        beside_rxe::suite(),
        user_tool::suite(),
        new_user::suite(),
        conformance::suite(),
        containers::suite(),
        kunit::suite(),
        debug::suite(extent),
    ];
    if extent == Extent::Long {
        suites.push(power::on_debug());
        suites.push(stress::on_debug());
        suites.push(hostile::on_debug());
        suites.push(hostile::failing_allocations());
        suites.push(peer::on_debug(extent));
    }
    suites.extend(programs::suites());
    if extent == Extent::Long {
        suites.push(new_user::rebooting());
        suites.push(dkms::suite());
        suites.push(storage::stock::suite());
        suites.push(storage::debug::suite());
    }
    suites.extend(storage::suites());
    suites.extend(speed::suites());
    suites
}

/// Preparation of a lab which needs none.
fn as_booted(_: &Stage<'_>) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_kernel_is_booted_once() {
        let suites = all(Extent::Short);
        let mut debug = suites
            .iter()
            .filter(|suite| suite.lab.kernel == Kernel::Debug);
        let first = debug.next().unwrap();
        assert!(debug.all(|suite| first.lab == suite.lab));
    }

    #[test]
    fn all_hosts_have_several_cpus() {
        for suite in all(Extent::Short) {
            let least = match suite.lab.kernel {
                Kernel::Stock => 2,
                Kernel::Debug => 4,
                Kernel::Native => 1,
            };
            assert!(suite.lab.cpus >= least, "{}", suite.name);
        }
    }

    #[test]
    fn labs_are_shared() {
        let shared: [&[&str]; 3] = [
            &["plug", "network", "stream"],
            &["verbs", "ip", "crash", "power", "life", "hostile"],
            &["ip-two-rails", "faults", "stress"],
        ];
        for names in shared {
            let suites = all(Extent::Short);
            let mut suites = suites.iter();
            let first = suites.find(|suite| suite.name == names[0]).unwrap();
            for name in &names[1..] {
                let next = suites.next().unwrap();
                assert_eq!(next.name, *name);
                assert!(first.lab == next.lab, "{name}");
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let suites = all(Extent::Long);
        let names: Vec<String> = suites.iter().flat_map(Suite::names).collect();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }
}
