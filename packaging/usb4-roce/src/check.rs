// SPDX-License-Identifier: GPL-2.0

//! The whole chain from the kernel to what a program needs, each link judged, with a remedy for what is wrong.

use serde::Serialize;

use crate::exit::Exit;
use crate::host::Host;
use finding::Finding;
use finding::Verdict;

mod cable;
mod controller;
mod device;
pub mod finding;
mod kernel;
mod module;
mod network;
mod program;
mod rail;
pub mod text;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Version of this program.
    pub version: &'static str,
    /// Grows when a field changes its meaning.
    pub format: u32,
    /// The kernel's release.
    pub kernel: String,
    /// How many there are of each verdict.
    pub summary: Summary,
    /// What was found, from the kernel up to programs.
    pub findings: Vec<Finding>,
}

/// How many findings there are of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nothing is wrong.
    pub ok: usize,
    /// It works, but not as well or as safely as it could.
    pub warnings: usize,
    /// It keeps things from working.
    pub faults: usize,
    /// Only root can tell.
    pub needs_root: usize,
    /// It could not be found out.
    pub unknown: usize,
    /// Something before it has to be put right first.
    pub skipped: usize,
}

/// Format of the JSON document.
const FORMAT: u32 = 1;

impl Check {
    /// Judges `host`.
    pub fn of(host: &Host) -> Self {
        let links: [fn(&Host) -> Vec<Finding>; 8] = [
            kernel::findings,
            controller::findings,
            module::findings,
            cable::findings,
            rail::findings,
            device::findings,
            network::findings,
            program::findings,
        ];
        let findings: Vec<Finding> = links.iter().flat_map(|link| link(host)).collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            format: FORMAT,
            kernel: host.kernel.release.clone(),
            summary: Summary::of(&findings),
            findings,
        }
    }

    /// What scripts are told.
    pub fn exit(&self) -> Exit {
        if self.summary.faults > 0 {
            Exit::Fault
        } else if self.summary.unknown > 0 {
            Exit::CannotTell
        } else {
            Exit::Well
        }
    }
}

impl Summary {
    fn of(findings: &[Finding]) -> Self {
        let count = |verdict| {
            let matching = findings.iter().filter(|finding| finding.verdict == verdict);
            matching.count()
        };
        Self {
            ok: count(Verdict::Ok),
            warnings: count(Verdict::Warning),
            faults: count(Verdict::Fault),
            needs_root: count(Verdict::NeedsRoot),
            unknown: count(Verdict::Unknown),
            skipped: count(Verdict::Skipped),
        }
    }
}
