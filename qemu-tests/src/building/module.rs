// SPDX-License-Identifier: GPL-2.0

//! The kernel modules of the checkout, built in the root against a prepared tree.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::kernel_tree::jobs;
use crate::building::kernel_tree::KernelTree;
use crate::building::mirror_tree;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// What the modules are built from.
pub const PARTS: [&str; 6] = [
    "Cargo.toml",
    "Kbuild",
    "src",
    "verbs",
    "stream-adapter",
    "kunit",
];

/// Name of the module.
pub const NAME: &str = "usb4_roce";

/// Built modules.
#[derive(Clone, Debug)]
pub struct Modules {
    directory: PathBuf,
}

impl Modules {
    /// Builds what is not up to date of `checkout`, outside of it.
    pub fn build(cache: &Cache, root: &Root, tree: &KernelTree, checkout: &Path) -> Result<Self> {
        let place = checkout.display().to_string();
        let key = Key::new("modules", &[tree.key.as_str(), &place]);
        let (directory, _lock) = cache.workshop(&key)?;
        mirror_tree::update(checkout, &directory, &PARTS)?;
        if !directory.join("Kbuild").exists() {
            bail!("{} has no Kbuild", checkout.display());
        }
        let log = directory.with_extension("log");
        make(root, tree, &directory, &[], &log)?;
        Ok(Self { directory })
    }

    /// All modules.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        find(&self.directory, &mut found)?;
        Ok(found)
    }

    /// The module named `name`.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let file = format!("{name}.ko");
        let mut found = self.files()?.into_iter();
        found
            .find(|path| path.file_name().is_some_and(|name| *name == *file))
            .with_context(|| format!("the build made no {file}"))
    }
}

/// Builds the modules of the sources in `directory` there, with more `variables` for make. What the tools say is
/// in the file `log`.
pub fn make(
    root: &Root,
    tree: &KernelTree,
    directory: &Path,
    variables: &[&str],
    log: &Path,
) -> Result<()> {
    let mut binds = tree.binds();
    binds.push(Bind::new(directory, "module", Access::ReadWrite));
    let jobs = format!("-j{}", jobs());
    let mut argv = vec!["make", "-C", "/lab/kbuild", "M=/lab/module", &jobs];
    argv.extend(tree.make_variables.iter().map(String::as_str));
    argv.extend(variables);
    argv.push("modules");
    root.run(&argv, binds, "/", log)
        .context("build the kernel module")
}

/// Adds the modules below `directory` to `found`.
fn find(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", directory.display()))?
            .path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            found.push(path);
        }
    }
    Ok(())
}
