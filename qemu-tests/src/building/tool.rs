// SPDX-License-Identifier: GPL-2.0

//! Programs of this workspace which the lab runs: the agent, the cable, the meter, and the hostile peer.
//!
//! They are linked statically: the agent runs in an initramfs, with nothing beside it.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

/// What the programs are built for. Naming it keeps the static linking away from build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The built programs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The agent.
    pub agent: PathBuf,
    /// The cable.
    pub cable: PathBuf,
    /// The meter.
    pub meter: PathBuf,
    /// The hostile peer.
    pub hostile_peer: PathBuf,
}

/// The checkout this lab was built from.
pub fn checkout() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    match package.parent() {
        Some(checkout) if checkout.join("Cargo.toml").exists() => Ok(checkout.to_owned()),
        _ => bail!(
            "the checkout this lab was built from is gone: {}",
            package.display()
        ),
    }
}

impl Tools {
    /// Builds what is not up to date, below `target`.
    pub fn build(target: &Path) -> Result<Self> {
        let output = Command::new("cargo")
            .current_dir(checkout()?)
            .args(["build", "--quiet", "--locked", "--release"])
            .args(["--package", "lab-agent", "--package", "usb4-cable"])
            .args(["--package", "lab-meter", "--package", "hostile-peer"])
            .args(["--target", TARGET])
            .arg("--target-dir")
            .arg(target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .output()
            .context("run cargo: install Rust to build the lab's programs")?;
        if !output.status.success() {
            bail!(
                "cargo cannot build the lab's programs:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let directory = target.join(TARGET).join("release");
        Ok(Self {
            agent: directory.join("lab-agent"),
            cable: directory.join("usb4-cable"),
            meter: directory.join("lab-meter"),
            hostile_peer: directory.join("hostile-peer"),
        })
    }
}
