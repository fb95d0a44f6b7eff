// SPDX-License-Identifier: GPL-2.0

//! Roots of Debian releases with their own rdma-core and perftest, as containers have them, and programs built against them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::minimal_root::MinimalRoot;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;
use crate::building::within::LAB;

/// What is in a root beside what is essential. The headers are for programs that are built against it, from outside.
const PACKAGES: &str = "ibverbs-providers,ibverbs-utils,perftest,libibverbs-dev,libc6-dev";

/// Has links between libraries stay in the root when they are followed from outside, as linkers do.
const LINKS: &str = "\
    find -H \"$1/lib\" \"$1/lib64\" \"$1/usr/lib\" -type l -lname '/*' | \
    while read -r link; do ln -sfr \"$1$(readlink \"$link\")\" \"$link\" || exit; done";

/// Disk space of one in bytes, with room for apt's downloads.
const SPACE: u64 = 1 << 30;

/// Where a root is when something is built against it, below `/lab`.
pub const SYSROOT: &str = "container";

/// Where libraries are in a root; two places in those of Debian 11.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// How programs for these roots are compiled.
const COMPILE: [&str; 6] = [
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-missing-field-initializers",
];

/// The program of `containers/`.
pub const POSTS: &str = "verbs-posts";

/// The client which runs in all of them, built against the oldest.
pub const VERIFY: &str = "verbs-verify";

/// What the root's compiler is told to use the headers and libraries of the root at [`SYSROOT`].
pub fn linking() -> Vec<String> {
    let sysroot = format!("{LAB}/{SYSROOT}");
    let mut options = vec![format!("--sysroot={sysroot}")];
    // Debian's compiler looks for libraries in its own root as well, and there first.
    for libraries in LIBRARIES {
        let libraries = format!("{sysroot}/{libraries}");
        options.extend([
            format!("-B{libraries}"),
            format!("-L{libraries}"),
            format!("-Wl,-rpath-link,{libraries}"),
        ]);
    }
    options
}

/// A Debian release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 11.
    Bullseye,
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// What becomes the next release; as it was when the root was made.
    Sid,
}

impl Release {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::Bullseye, Self::Bookworm, Self::Trixie, Self::Sid];

    /// Its name in the archive.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// Name of the directory with its root.
    pub fn root(self) -> String {
        format!("container-{self}")
    }

    /// Name of the directory with programs for that root.
    pub fn programs(self) -> String {
        format!("programs-{self}")
    }

    /// Whether mirrors may have it no more.
    pub fn may_be_gone(self) -> bool {
        self == Self::Bullseye
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A root.
#[derive(Clone, Debug)]
pub struct Container {
    /// Which it is.
    pub release: Release,
    /// Where it is.
    pub path: PathBuf,
    /// What it was made from.
    pub key: Key,
}

impl Container {
    /// The root of `release`, made with packages from `mirror` (the host's, if none is named) if it is not in the cache. What makes roots
    /// has to be installed.
    pub fn provide(cache: &Cache, mirror: Option<&str>, release: Release) -> Result<Self> {
        let root = MinimalRoot {
            release: release.name(),
            packages: PACKAGES,
            kept: &[],
            finish: LINKS,
        };
        let key = Key::new("container", &root.inputs());
        let what = format!("make the root of {release} for containers");
        let entry = cache.entry(&key, &what, SPACE, |directory| {
            let path = directory.join(release.root());
            root.make(&path, mirror, &directory.with_extension("log"))
        })?;
        Ok(Self {
            release,
            path: entry.join(release.root()),
            key,
        })
    }

    /// Brings the program of `checkout` for this root up to date, by the compiler of `root`; gives the directory where it is, with
    /// `client` beside it.
    pub fn programs(
        &self,
        cache: &Cache,
        root: &Root,
        checkout: &Path,
        client: &Path,
    ) -> Result<PathBuf> {
        let place = checkout.display().to_string();
        let key = Key::new("posts", &[root.key.as_str(), self.key.as_str(), &place]);
        let (workshop, _lock) = cache.workshop(&key)?;
        let target = workshop.join(self.release.programs());
        fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
        let source = checkout.join("qemu-tests/containers");
        let binds = vec![
            Bind::new(&source, "source", Access::ReadOnly),
            Bind::new(&target, "target", Access::ReadWrite),
            Bind::new(&self.path, SYSROOT, Access::ReadOnly),
        ];
        let log = workshop.with_extension("log");
        let output = format!("{LAB}/target/{POSTS}");
        let program = format!("{LAB}/source/{POSTS}.c");
        let linking = linking();
        let mut argv = vec!["gcc"];
        argv.extend(linking.iter().map(String::as_str));
        argv.extend(COMPILE);
        argv.extend(["-o", &output, &program, "-libverbs"]);
        root.run(&argv, binds, "/", &log)
            .with_context(|| format!("build {POSTS} for {}", self.release))?;
        let name = client.file_name().context("a program has a name")?;
        fs::copy(client, target.join(name))
            .with_context(|| format!("copy {}", client.display()))?;
        Ok(target)
    }
}
