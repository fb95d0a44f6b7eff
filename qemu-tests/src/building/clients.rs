// SPDX-License-Identifier: GPL-2.0

//! The verbs client programs, built in the root by its own Rust against its rdma-core.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::container::Container;
use crate::building::crates;
use crate::building::root::Root;
use crate::building::root_cargo::Crate;

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
    "verbs-paging",
    "verbs-stuck",
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
        let clients = Crate {
            source: &source,
            vendor: Some(&vendor),
        };
        let directory = clients.build(cache, root)?;
        Ok(Self { directory })
    }

    /// Brings the program `name` up to date for the libraries of `container`, which are older than the root's.
    pub fn build_program(
        cache: &Cache,
        root: &Root,
        checkout: &Path,
        name: &str,
        container: &Container,
    ) -> Result<PathBuf> {
        let source = checkout.join("qemu-tests/clients");
        let vendor = crates::vendor(cache, &source, "the verbs clients")?;
        let clients = Crate {
            source: &source,
            vendor: Some(&vendor),
        };
        clients.build_program(cache, root, name, container)
    }

    /// The programs.
    pub fn files(&self) -> Vec<PathBuf> {
        PROGRAMS
            .iter()
            .map(|name| self.directory.join(name))
            .collect()
    }
}
