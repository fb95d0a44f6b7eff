// SPDX-License-Identifier: GPL-2.0

//! Roots of Debian releases with little more than a few programs need.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::building::apt;
use crate::building::root::logged;

/// What is left out of the packages, to be small: nobody reads it.
const LEFT_OUT: [&str; 4] = [
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
];

/// How a root is made.
#[derive(Clone, Copy, Debug)]
pub struct MinimalRoot<'a> {
    /// The release's name in the archive.
    pub release: &'a str,
    /// What is in it beside what is essential.
    pub packages: &'a str,
    /// Options of dpkg about what of the packages is kept although it would be left out.
    pub kept: &'a [&'a str],
    /// What a shell does with the root, `$1`, when the packages are there.
    pub finish: &'a str,
}

impl<'a> MinimalRoot<'a> {
    /// Everything that determines what is in it.
    pub fn inputs(&self) -> Vec<&'a str> {
        let mut inputs = vec![self.release, self.packages, self.finish];
        inputs.extend(LEFT_OUT);
        inputs.extend(self.kept);
        inputs
    }

    /// Makes it at `path`, with packages from `mirror` (the host's, if none is named). What makes roots has to be installed.
    pub fn make(&self, path: &Path, mirror: Option<&str>, log: &Path) -> Result<()> {
        let Self { release, .. } = self;
        let mirror = match mirror {
            Some(mirror) => mirror.to_owned(),
            None => apt::debian_mirror()?,
        };
        let mut command = Command::new("mmdebstrap");
        command
            .args([
                "--variant=essential",
                "--components=main",
                "--format=directory",
            ])
            .arg(format!("--include={}", self.packages))
            .arg(format!("--customize-hook={}", self.finish))
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .arg("--aptopt=Acquire::Retries \"3\"")
            // A mirror may have stood still for weeks, and a release that is supported no more does.
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
        for option in LEFT_OUT.iter().chain(self.kept) {
            command.arg(format!("--dpkgopt={option}"));
        }
        command.arg(release).arg(path).arg(&mirror);
        logged(&mut command, "mmdebstrap", log)
            .with_context(|| format!("is the mirror {mirror} reachable, and has it {release}?"))?;
        // Nodes are the host's to give.
        let nodes = path.join("dev");
        fs::remove_dir_all(&nodes)
            .and_then(|()| fs::create_dir(&nodes))
            .with_context(|| format!("empty {}", nodes.display()))
    }
}
