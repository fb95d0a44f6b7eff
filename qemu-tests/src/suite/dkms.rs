// SPDX-License-Identifier: GPL-2.0

//! The module that DKMS has built of its package, as on a user's machine: hosts load it and move data.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce::traffic;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(120);

/// The suite. Building takes minutes.
pub fn suite() -> Suite {
    Suite {
        name: "dkms",
        lab: Lab {
            subject: Subject::Dkms,
            ..Lab::MODULE
        },
        tests: vec![
            Test::new("version", LIMIT * 2, version),
            Test::new("verify", LIMIT * 4, verify),
        ],
    }
}

/// It was built for the kernel that runs, and says which version it is.
fn version(stage: &Stage<'_>) -> Result<Outcome> {
    let magic = stage.shell(
        "a",
        "modinfo --field vermagic /lab/share/usb4_roce.ko && modinfo --field vermagic thunderbolt && cat /sys/module/usb4_roce/version",
        LIMIT,
    )?;
    let lines: Vec<&str> = magic.lines().collect();
    let [ours, kernel, version] = lines[..] else {
        bail!("modinfo says {magic}");
    };
    ensure!(
        ours == kernel,
        "built for {ours}, and the kernel is {kernel}"
    );
    ensure!(version == env!("CARGO_PKG_VERSION"), "it is {version}");
    Ok(Outcome::Passed)
}

fn verify(stage: &Stage<'_>) -> Result<Outcome> {
    traffic::verify(stage, "a", "b", LIMIT * 2)?;
    Ok(Outcome::Passed)
}
