// SPDX-License-Identifier: GPL-2.0

//! Building crates of the checkout in the root, by its own Rust, for programs that meet the root's libraries.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Where the crate is in the root.
const SOURCE: &str = "source";

/// Where its dependencies are.
const VENDOR: &str = "vendor";

/// Brings the crate at `source` up to date, with its dependencies from `vendor`, if it has any: the root has no network. Says
/// where the results are.
pub fn build(cache: &Cache, root: &Root, source: &Path, vendor: Option<&Path>) -> Result<PathBuf> {
    let name = source.file_name().context("a crate has a directory")?;
    let name = name.to_string_lossy();
    let place = source.display().to_string();
    let key = Key::new(&name, &[root.key.as_str(), &place]);
    let (target, _lock) = cache.workshop(&key)?;
    let mut binds = vec![
        Bind::new(source, SOURCE, Access::ReadOnly),
        Bind::new(&target, "target", Access::ReadWrite),
    ];
    let mut argv = vec![
        "env",
        "CARGO_HOME=/lab/target/home",
        "CARGO_TARGET_DIR=/lab/target",
        "cargo",
    ];
    let replace = "source.crates-io.replace-with=\"vendored\"";
    let directory = format!("source.vendored.directory=\"/lab/{VENDOR}\"");
    if let Some(vendor) = vendor {
        binds.push(Bind::new(vendor, VENDOR, Access::ReadOnly));
        argv.extend(["--config", replace, "--config", &directory]);
    }
    argv.extend(["build", "--release", "--frozen"]);
    let log = target.with_extension("log");
    root.run(&argv, binds, &format!("/lab/{SOURCE}"), &log)
        .with_context(|| format!("build {name}"))?;
    Ok(target.join("release"))
}
