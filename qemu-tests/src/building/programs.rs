// SPDX-License-Identifier: GPL-2.0

//! Programs of the checkout in C, each built with libraries that the root has by an addition, or of crates.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::addition::Addition;
use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::crates;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Builds those of `addition` that are not up to date in `root`, which has it. Says where they are.
pub fn build(
    cache: &Cache,
    root: &Root,
    addition: Addition,
    checkout: &Path,
) -> Result<Vec<PathBuf>> {
    // Without targets, make would make its first.
    if addition.programs().is_empty() {
        return Ok(Vec::new());
    }
    let source = checkout.join("qemu-tests/programs");
    let place = source.display().to_string();
    let key = Key::new("programs", &[root.key.as_str(), &place]);
    let (directory, _lock) = cache.workshop(&key)?;
    let mut binds = vec![
        Bind::new(&source, "source", Access::ReadOnly),
        Bind::new(&directory, "target", Access::ReadWrite),
    ];
    if let Some(package) = addition.crates() {
        let crates = crates::vendor(cache, &source.join(package), &addition.to_string())?;
        binds.push(Bind::new(&crates, "crates", Access::ReadOnly));
    }
    let targets = addition.programs().iter();
    let targets: Vec<String> = targets.map(|name| format!("/lab/target/{name}")).collect();
    let mut argv = vec!["make", "OUT=/lab/target", "CRATES=/lab/crates"];
    argv.extend(targets.iter().map(String::as_str));
    let log = directory.with_extension("log");
    root.run(&argv, binds, "/lab/source", &log)
        .with_context(|| format!("build the programs of {addition}"))?;
    let built = addition.programs().iter().map(|name| directory.join(name));
    Ok(built.collect())
}
