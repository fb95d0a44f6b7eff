// SPDX-License-Identifier: GPL-2.0

//! The verbs client programs, built in the root by its own Rust against its rdma-core.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::crates;
use crate::building::root::Root;
use crate::building::root_cargo;

/// Names of the programs.
const PROGRAMS: &[&str] = &[
    "verbs-verify",
    "verbs-errors",
    "verbs-datagrams",
    "verbs-limits",
    "verbs-flow",
    "verbs-stress",
    "verbs-victim",
    "verbs-placement",
    "verbs-atomics",
    "verbs-unreliable",
    "uverbs-fuzz",
    "verbs-exhaust",
    "verbs-faults",
    "allreduce",
];

/// Built programs.
#[derive(Clone, Debug)]
pub struct Clients {
    directory: PathBuf,
}

impl Clients {
    /// Builds what is not up to date.
    pub fn build(cache: &Cache, root: &Root, checkout: &Path) -> Result<Self> {
        let source = checkout.join("qemu-tests/clients");
        let vendor = crates::vendor(cache, &source, "the verbs clients")?;
        let directory = root_cargo::build(cache, root, &source, Some(&vendor))?;
        Ok(Self { directory })
    }

    /// The programs.
    pub fn files(&self) -> Vec<PathBuf> {
        PROGRAMS
            .iter()
            .map(|name| self.directory.join(name))
            .collect()
    }
}
