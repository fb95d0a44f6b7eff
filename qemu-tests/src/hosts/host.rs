// SPDX-License-Identifier: GPL-2.0

//! A host of the lab: a guest with NHIs.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::building::root::Root;
use crate::building::within::Program;
use crate::building::within::Seat;
use crate::hosts::agent::Agent;
use crate::hosts::attendant::Attendant;
use crate::hosts::daemon::Daemon;
use crate::hosts::platform::Platform;
use crate::hosts::qemu;
use crate::hosts::shape::Shape;
use crate::hosts::user_mode;

/// Longest boot. Under TCG on a busy machine it takes tens of seconds.
pub const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// How long a host may take to power off before it is killed.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(120);

/// How long an agent of a running host may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(240);

/// The kernel's image in the directory of an instance.
pub const KERNEL: &str = "vmlinuz";

/// The initramfs there.
pub const INITRAMFS: &str = "initramfs";

/// The plugin which counts instructions there, if they are counted.
pub const COUNTER: &str = "instruction-counter.so";

/// The directory there which the hosts share.
pub fn share(directory: &Path) -> PathBuf {
    directory.join("share")
}

/// The disk below `directory` with what the host `name` has written, if it keeps that.
pub fn disk(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}-disk"))
}

/// What a host is made of.
pub struct Plan<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the hosts of its lab are like.
    pub shape: &'a Shape<'a>,
    /// The Debian root.
    pub root: &'a Root,
    /// Directory of the instance: kernel, sockets, logs.
    pub directory: &'a Path,
    /// The sockets of its NHIs, below `directory`.
    pub nhis: Vec<String>,
    /// What runs it.
    pub platform: Platform,
    /// Where it runs.
    pub seat: Seat,
}

/// A host that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What runs it.
    pub machine: Daemon,
    /// How that was started.
    runner: Runner,
}

/// What is started to run a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Runner {
    /// QEMU.
    Qemu(Program),
    /// Its kernel, which is a process.
    UserMode(Attendant),
}

/// Serial console log of the host `name` below `directory`.
pub fn console_log(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}-console.log"))
}

/// Log of what runs the host `name` below `directory`.
fn machine_log(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}-machine.log"))
}

impl Plan<'_> {
    /// Starts the host. It has booted when [`Host::agent`] gives an agent.
    pub fn start(&self) -> Result<Host> {
        let runner = match self.platform {
            Platform::Qemu {
                accelerator,
                counting,
            } => Runner::Qemu(qemu::program(self, accelerator, counting)),
            Platform::UserMode => Runner::UserMode(user_mode::attendant(self)),
        };
        Ok(Host {
            name: self.name.to_owned(),
            machine: runner.start(&machine_log(self.directory, self.name))?,
            runner,
        })
    }
}

impl Runner {
    fn start(&self, log: &Path) -> Result<Daemon> {
        let command = match self {
            Self::Qemu(program) => program.command(),
            Self::UserMode(attendant) => attendant.command(),
        };
        Daemon::spawn(&mut command?, "the host", log)
    }
}

impl Host {
    /// Starts it once more, after it has ended. It boots as it did the first time.
    pub fn start_again(&self, directory: &Path) -> Result<Self> {
        Ok(Self {
            machine: self.runner.start(&machine_log(directory, &self.name))?,
            ..self.clone()
        })
    }

    /// Opens a session with the host's agent, waiting for the host to boot if need be.
    pub fn agent(&self, directory: &Path) -> Result<Agent> {
        self.connect(directory, GREETING_LIMIT)
    }

    /// Waits until the host has booted.
    pub fn wait_boot(&self, directory: &Path) -> Result<Agent> {
        self.connect(directory, BOOT_LIMIT).with_context(|| {
            let console = console_log(directory, &self.name);
            format!("{} did not boot; see {}", self.name, console.display())
        })
    }

    fn connect(&self, directory: &Path, limit: Duration) -> Result<Agent> {
        Agent::connect(directory, &self.name, self.machine, limit)
    }

    /// Powers the host off; kills it if it does not end by itself.
    pub fn power_off(&self, directory: &Path) -> Result<Ending> {
        if !self.machine.alive() {
            return Ok(Ending::Already);
        }
        let asked = self.agent(directory).and_then(Agent::power_off);
        if asked.is_ok() && self.machine.wait(POWER_OFF_LIMIT) {
            return Ok(Ending::PoweredOff);
        }
        self.machine.kill();
        Ok(Ending::Killed)
    }
}

/// How a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It powered itself off when told to.
    PoweredOff,
    /// It had ended before.
    Already,
    /// It had to be killed.
    Killed,
}
