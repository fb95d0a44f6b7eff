// SPDX-License-Identifier: GPL-2.0

//! Debian packages of the checkout, made in the root from `packaging/debian`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::command;
use crate::building::mirror_tree;
use crate::building::module;
use crate::building::module::Modules;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// What packages are made from, at the places where it is in the checkout.
const PARTS: [&str; 8] = [
    "Cargo.toml",
    "Kbuild",
    "LICENSE",
    "Makefile",
    "packaging",
    "src",
    "stream-adapter",
    "verbs",
];

/// What makes packages of the sources that it lies in, and looks at them: Debian's, and RPM's as far as Debian has its tools.
const MAKERS: [&str; 2] = ["make-debs", "make-rpms"];

/// Endings of the packages' names.
const ENDINGS: [&str; 2] = ["deb", "rpm"];

/// Built packages.
#[derive(Clone, Debug)]
pub struct Debian {
    directory: PathBuf,
}

impl Debian {
    /// Makes them anew in `root`, which has the tools, with the `modules` for the kernel of that `release`.
    pub fn build(
        cache: &Cache,
        root: &Root,
        release: &str,
        modules: &Modules,
        checkout: &Path,
    ) -> Result<Self> {
        let place = checkout.display().to_string();
        let key = Key::new("packages", &[root.key.as_str(), &place]);
        let (directory, _lock) = cache.workshop(&key)?;
        let source = directory.join("source");
        let prebuilt = source.join("prebuilt");
        let module = prebuilt.join("modules").join(release);
        fs::remove_dir_all(&directory)
            .and_then(|()| fs::create_dir_all(&module))
            .with_context(|| format!("empty {}", directory.display()))?;
        mirror_tree::update(checkout, &source, &PARTS)?;
        let built = modules.file(module::NAME)?;
        let target = module.join(built.file_name().unwrap_or_default());
        fs::copy(&built, &target).with_context(|| format!("copy {}", built.display()))?;
        command::build(cache, root, checkout, &prebuilt.join("command"))?;
        let binds = vec![Bind::new(&directory, "packages", Access::ReadWrite)];
        let log = directory.with_extension("log");
        for maker in MAKERS {
            let maker = format!("/lab/packages/source/packaging/{maker}");
            root.run(&["sh", &maker], binds.clone(), "/", &log)
                .context("make packages")?;
        }
        Ok(Self { directory })
    }

    /// The packages.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let list = || format!("list {}", self.directory.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).with_context(list)? {
            let path = entry.with_context(list)?.path();
            let is_package = |extension: &OsStr| ENDINGS.iter().any(|ending| extension == *ending);
            if path.extension().is_some_and(is_package) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}
