// SPDX-License-Identifier: GPL-2.0

//! Building crates of the checkout in the root, by its own Rust, for programs that meet the root's libraries.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::container::linking;
use crate::building::container::Container;
use crate::building::container::SYSROOT;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Where the crate is in the root.
const SOURCE: &str = "source";

/// Where its dependencies are.
const VENDOR: &str = "vendor";

/// A crate of the checkout.
#[derive(Clone, Copy, Debug)]
pub struct Crate<'a> {
    /// Where it is.
    pub source: &'a Path,
    /// Its dependencies, if it has any: the root has no network.
    pub vendor: Option<&'a Path>,
}

/// How a build differs from one of the whole crate for the root's libraries.
#[derive(Default)]
struct Variant {
    /// What it depends on beside root and source.
    inputs: Vec<String>,
    /// Of the environment.
    settings: Vec<String>,
    /// Behind those of every build.
    arguments: Vec<String>,
    binds: Vec<Bind>,
}

impl Crate<'_> {
    /// Brings it up to date; gives the directory with the results.
    pub fn build(&self, cache: &Cache, root: &Root) -> Result<PathBuf> {
        self.build_variant(cache, root, Variant::default())
    }

    /// Brings the package `name` of the workspace up to date; gives the directory with the results.
    pub fn build_package(&self, cache: &Cache, root: &Root, name: &str) -> Result<PathBuf> {
        let variant = Variant {
            inputs: vec![name.to_owned()],
            arguments: vec!["--package".to_owned(), name.to_owned()],
            ..Variant::default()
        };
        self.build_variant(cache, root, variant)
    }

    /// Brings its program `name` up to date, linked with the libraries of `container`, which are older than the root's and know less; the
    /// headers are the root's. Gives the program.
    pub fn build_program(
        &self,
        cache: &Cache,
        root: &Root,
        name: &str,
        container: &Container,
    ) -> Result<PathBuf> {
        let link = linking();
        let link: Vec<String> = link
            .iter()
            .map(|option| format!("-Clink-arg={option}"))
            .collect();
        let variant = Variant {
            inputs: vec![container.key.as_str().to_owned()],
            settings: vec![format!("RUSTFLAGS={}", link.join(" "))],
            arguments: vec!["--bin".to_owned(), name.to_owned()],
            binds: vec![Bind::new(&container.path, SYSROOT, Access::ReadOnly)],
        };
        Ok(self.build_variant(cache, root, variant)?.join(name))
    }

    fn build_variant(&self, cache: &Cache, root: &Root, variant: Variant) -> Result<PathBuf> {
        let name = self.source.file_name().context("a crate has a directory")?;
        let name = name.to_string_lossy();
        let mut inputs = vec![
            root.key.as_str().to_owned(),
            self.source.display().to_string(),
        ];
        inputs.extend(variant.inputs);
        let (target, _lock) = cache.workshop(&Key::new(&name, &inputs))?;
        let mut binds = vec![
            Bind::new(self.source, SOURCE, Access::ReadOnly),
            Bind::new(&target, "target", Access::ReadWrite),
        ];
        binds.extend(variant.binds);
        let mut argv = vec![
            "env",
            "CARGO_HOME=/lab/target/home",
            "CARGO_TARGET_DIR=/lab/target",
        ];
        argv.extend(variant.settings.iter().map(String::as_str));
        argv.push("cargo");
        let replace = "source.crates-io.replace-with=\"vendored\"";
        let directory = format!("source.vendored.directory=\"/lab/{VENDOR}\"");
        if let Some(vendor) = self.vendor {
            binds.push(Bind::new(vendor, VENDOR, Access::ReadOnly));
            argv.extend(["--config", replace, "--config", &directory]);
        }
        argv.extend(["build", "--release", "--frozen"]);
        argv.extend(variant.arguments.iter().map(String::as_str));
        let log = target.with_extension("log");
        root.run(&argv, binds, &format!("/lab/{SOURCE}"), &log)
            .with_context(|| format!("build {name}"))?;
        Ok(target.join("release"))
    }
}
