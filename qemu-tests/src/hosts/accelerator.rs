// SPDX-License-Identifier: GPL-2.0

//! How guests' instructions are executed: by KVM where it really works, else by QEMU's TCG.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::building::kernel_tree::Kernel;
use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::within::Seat;
use crate::building::within::View;

/// How long the probe guest may take to show that KVM works.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// How often the probe guest is looked at.
const PROBE_POLL: Duration = Duration::from_millis(20);

/// What executes guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

/// What guests take their processor for, under TCG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuModel {
    /// One that is not good at what TCG is bad at: it executes `rep movs` and `rep stos` byte by byte, a hundred
    /// times slower than loops, and the CRC instruction of SSE4.2 bit by bit, three times slower than a table.
    /// Page tables of five levels only make look-ups slower.
    Fast,
    /// One like those of real hosts, so that guests execute the instructions that real hosts would.
    Real,
}

impl CpuModel {
    /// As QEMU calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "max,erms=off,fsrm=off,fsrs=off,fzrm=off,la57=off,sse4.2=off",
            Self::Real => "max",
        }
    }
}

/// Which threads TCG executes a guest's processors in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// All in one, in turn.
    One,
    /// Each in its own.
    Several,
}

impl Threads {
    /// What suits guests with this kernel.
    ///
    /// A kernel with jump labels changes its code as it runs. One thread can then go on executing what another one has changed: a
    /// breakpoint which is there while an instruction is being replaced is met when it is long gone, and the guest dies of it.
    pub fn of(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Stock => Self::One,
            // They have none.
            Kernel::Debug | Kernel::Native => Self::Several,
        }
    }

    /// As QEMU calls them.
    fn name(self) -> &'static str {
        match self {
            Self::One => "single",
            Self::Several => "multi",
        }
    }
}

impl Accelerator {
    /// QEMU's options.
    pub fn arguments(self, model: CpuModel, threads: Threads) -> [String; 4] {
        let (accelerator, processor) = match self {
            Accelerator::Kvm => ("kvm".to_owned(), "host"),
            Accelerator::Tcg => (format!("tcg,thread={}", threads.name()), model.name()),
        };
        ["-accel", &accelerator, "-cpu", processor].map(str::to_owned)
    }

    /// KVM if the processor has virtualisation extensions and a guest runs with them, else TCG.
    /// `/dev/kvm` alone says little: inside a paravirtual KVM it may exist and fail.
    pub fn probe(root: &Path) -> Result<Self> {
        let extensions =
            fs::read_to_string("/proc/cpuinfo").is_ok_and(|info| has_extensions(&info));
        if !extensions || !Path::new("/dev/kvm").exists() {
            return Ok(Accelerator::Tcg);
        }
        Ok(if runs_firmware(root)? {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        })
    }
}

/// Runs the firmware of an empty machine, which resets when it finds nothing to boot.
fn runs_firmware(root: &Path) -> Result<bool> {
    let mut argv = vec!["qemu-system-x86_64".to_owned()];
    argv.extend(Accelerator::Kvm.arguments(CpuModel::Fast, Threads::One));
    for word in [
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-boot",
        "reboot-timeout=1",
    ] {
        argv.push(word.to_owned());
    }
    let program = Program {
        view: Some(View {
            root: root.to_owned(),
            layer: None,
            binds: Vec::new(),
            directory: "/".into(),
        }),
        lifetime: Lifetime::WithTheLab,
        seat: Seat::default(),
        argv,
    };
    let mut child = program
        .command()?
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the probe guest")?;
    let deadline = Instant::now() + PROBE_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().context("wait for the probe guest")? {
            return Ok(status.success());
        }
        thread::sleep(PROBE_POLL);
    }
    child.kill().context("kill the probe guest")?;
    child.wait().context("wait for the probe guest")?;
    Ok(false)
}

fn has_extensions(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| {
            line.split_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_count() {
        assert!(has_extensions("flags\t\t: fpu vmx sse\n"));
        assert!(has_extensions("flags\t\t: svm\n"));
        assert!(!has_extensions(
            "flags\t\t: fpu hypervisor\nmodel name: vmx\n"
        ));
    }
}
