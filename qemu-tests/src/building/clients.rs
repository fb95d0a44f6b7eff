// SPDX-License-Identifier: GPL-2.0

//! The verbs client programs, built in the root by its own Rust against its rdma-core.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::root::logged;
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

/// Disk space of the crates they depend on, in bytes.
const SPACE: u64 = 256 << 20;

/// Built programs.
#[derive(Clone, Debug)]
pub struct Clients {
    directory: PathBuf,
}

impl Clients {
    /// Builds what is not up to date.
    pub fn build(cache: &Cache, root: &Root, checkout: &Path) -> Result<Self> {
        let source = checkout.join("qemu-tests/clients");
        let vendor = vendor(cache, &source)?;
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

/// The crates the clients depend on, fetched by the host's cargo: the root has no network.
fn vendor(cache: &Cache, source: &Path) -> Result<PathBuf> {
    let lock = source.join("Cargo.lock");
    let content = fs::read(&lock).with_context(|| format!("read {}", lock.display()))?;
    let key = Key::new("vendor", &[content]);
    let what = "fetch the crates of the verbs clients";
    let path = cache.entry(&key, what, SPACE, |directory| {
        let mut command = Command::new("cargo");
        command
            .current_dir(source)
            .args(["vendor", "--locked", "--versioned-dirs"])
            .arg(directory.join("crates"));
        logged(
            &mut command,
            "cargo vendor",
            &directory.with_extension("log"),
        )
    })?;
    Ok(path.join("crates"))
}
