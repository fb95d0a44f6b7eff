// SPDX-License-Identifier: GPL-2.0

//! What a lab is like.

use anyhow::bail;
use anyhow::Result;
use lab_agent::protocol::Machine;

use crate::building::addition::Addition;
use crate::building::init::Init;
use crate::building::kernel_tree::Kernel;
use crate::building::within::Lifetime;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::fabric::Fabric;

/// Memory of a host in MiB, where nothing else is asked for.
pub const MEMORY_MIB: u32 = 1024;

/// CPUs of a host, where nothing else is asked for: with one, nothing ever happens at the same time on a host.
pub const CPUS: u32 = 2;

/// CPUs of a host with `kernel`, where nothing else is asked for.
pub const fn cpus(kernel: Kernel) -> u32 {
    match kernel {
        Kernel::Stock | Kernel::Debug => CPUS,
        // It has no more.
        Kernel::Native => 1,
    }
}

/// What a lab is like.
pub struct Shape<'a> {
    /// Its name.
    pub name: &'a str,
    /// Hosts and cables.
    pub fabric: Fabric,
    /// The hosts' kernel.
    pub kernel: Kernel,
    /// The hosts' processor, under TCG.
    pub processor: CpuModel,
    /// Memory of each host in MiB.
    pub memory_mib: u32,
    /// CPUs of each host.
    pub cpus: u32,
    /// Packages of the hosts' root beside those that it always has.
    pub addition: Option<Addition>,
    /// Whether the hosts' instructions are counted.
    pub counting: Counting,
    /// What becomes of it when the lab command ends.
    pub lifetime: Lifetime,
}

impl<'a> Shape<'a> {
    /// Two hosts and a cable, with nothing special about them, which are gone when the lab command ends.
    pub fn pair(name: &'a str) -> Self {
        Self {
            name,
            fabric: Fabric::PAIR,
            kernel: Kernel::Stock,
            processor: CpuModel::Fast,
            memory_mib: MEMORY_MIB,
            cpus: CPUS,
            addition: None,
            counting: Counting::Off,
            lifetime: Lifetime::WithTheLab,
        }
    }
}

impl Shape<'_> {
    /// Whether the hosts keep what they write.
    pub fn keeps_writes(&self) -> bool {
        self.init() == Init::Systemd && self.kernel.machine() == Machine::Qemu
    }

    /// The hosts' first process.
    pub fn init(&self) -> Init {
        self.addition.map_or(Init::Agent, Addition::init)
    }

    /// Fails if no host can be like that.
    pub fn check(&self) -> Result<()> {
        if self.kernel == Kernel::Native && self.cpus != cpus(Kernel::Native) {
            bail!("a native host has one CPU, not {}", self.cpus);
        }
        if self.kernel == Kernel::Debug && self.init() == Init::Systemd {
            bail!("the debug kernel lacks what systemd needs");
        }
        Ok(())
    }
}

/// Whether instructions are counted. Under KVM they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// They are, where that is possible.
    On,
    /// They are not.
    Off,
}
