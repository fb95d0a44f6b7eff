// SPDX-License-Identifier: GPL-2.0

//! `usb4-roce`, the program for users, as packages have it: linked with the system's libraries.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use crate::building::tool::checkout;

/// Its package and its name.
pub const NAME: &str = "usb4-roce";

/// Builds it if it is not up to date, below `target`. A root that is not older than the lab's machine has the libraries that it wants.
pub fn build(target: &Path) -> Result<PathBuf> {
    let target = target.join(NAME);
    let output = Command::new("cargo")
        .current_dir(checkout()?)
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", NAME, "--bin", NAME])
        .arg("--target-dir")
        .arg(&target)
        .output()
        .context("run cargo: install Rust to build usb4-roce")?;
    if !output.status.success() {
        bail!(
            "cargo cannot build {NAME}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(target.join("release").join(NAME))
}
