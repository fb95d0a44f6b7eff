// SPDX-License-Identifier: GPL-2.0

//! The command `usb4-roce`, built in the root by its own Rust, with its man pages and completions.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::crates;
use crate::building::root::Root;
use crate::building::root_cargo::Crate;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Name of the command and of its package.
pub const NAME: &str = "usb4-roce";

/// What writes its man pages and completions into a directory.
const PAGES: &str = "usb4-roce-pages";

/// Brings the program up to date; gives it.
pub fn program(cache: &Cache, root: &Root, checkout: &Path) -> Result<PathBuf> {
    Ok(build_package(cache, root, checkout)?.join(NAME))
}

/// Puts what is built of `checkout` into `directory`.
pub fn build(cache: &Cache, root: &Root, checkout: &Path, directory: &Path) -> Result<()> {
    let built = build_package(cache, root, checkout)?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let program = built.join(NAME);
    fs::copy(&program, directory.join(NAME))
        .with_context(|| format!("copy {}", program.display()))?;
    let binds = vec![
        Bind::new(directory, "command", Access::ReadWrite),
        Bind::new(&built, "built", Access::ReadOnly),
    ];
    let log = built.with_extension("log");
    let pages = format!("/lab/built/{PAGES}");
    root.run(&[&pages, "/lab/command"], binds, "/", &log)
        .context("write man pages")
}

fn build_package(cache: &Cache, root: &Root, checkout: &Path) -> Result<PathBuf> {
    let vendor = crates::vendor(cache, checkout, "the workspace")?;
    let workspace = Crate {
        source: checkout,
        vendor: Some(&vendor),
    };
    workspace.build_package(cache, root, NAME)
}
