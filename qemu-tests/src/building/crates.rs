// SPDX-License-Identifier: GPL-2.0

//! Crates that are built in the root, which has no network: the host's cargo fetches them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::root::logged;

/// Disk space in bytes.
const SPACE: u64 = 256 << 20;

/// The directory with what the package in `package`, of `user`, depends on: a directory for each crate, which has its version in its name.
pub fn vendor(cache: &Cache, package: &Path, user: &str) -> Result<PathBuf> {
    let lock = package.join("Cargo.lock");
    let content = fs::read(&lock).with_context(|| format!("read {}", lock.display()))?;
    let key = Key::new("vendor", &[content]);
    let what = format!("fetch the crates of {user}");
    let path = cache.entry(&key, &what, SPACE, |directory| {
        let mut command = Command::new("cargo");
        command
            .current_dir(package)
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
