// SPDX-License-Identifier: GPL-2.0

//! What the hosts of the benchmark are.

use crate::building::kernel_tree::Kernel;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::fabric::Fabric;
use crate::hosts::shape::cpus;
use crate::hosts::shape::Counting;
use crate::hosts::shape::Shape;

/// A kind of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Kernels that are processes: they run at the speed of the machine.
    Native,
    /// QEMU's guests with the distribution's kernel.
    Qemu,
}

impl Lane {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native hosts",
            Self::Qemu => "QEMU's guests",
        }
    }

    /// The hosts' kernel.
    pub fn kernel(self) -> Kernel {
        match self {
            Self::Native => Kernel::Native,
            Self::Qemu => Kernel::Stock,
        }
    }

    /// CPUs of each host.
    pub fn cpus(self) -> u32 {
        match self {
            Self::Native => cpus(Kernel::Native),
            // With more of them, the emulated hosts and the cable take the cores from each other on a small machine, and figures
            // say more of that than of what is compared.
            Self::Qemu => 1,
        }
    }

    /// Whether instructions can be counted.
    pub fn counting(self) -> Counting {
        match self {
            Self::Native => Counting::Off,
            Self::Qemu => Counting::On,
        }
    }

    /// Two hosts in a lab named `name`, with `rails` cables between them.
    pub fn shape(self, name: &str, rails: u8, counting: Counting) -> Shape<'_> {
        Shape {
            fabric: Fabric {
                rails,
                ..Fabric::PAIR
            },
            kernel: self.kernel(),
            processor: match counting {
                Counting::Off => CpuModel::Fast,
                // Instructions are to be those of a real host, though TCG is slow at some of them.
                Counting::On => CpuModel::Real,
            },
            cpus: self.cpus(),
            counting,
            ..Shape::pair(name)
        }
    }
}
