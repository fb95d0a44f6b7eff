// SPDX-License-Identifier: GPL-2.0

//! What runs the hosts of a lab, and how.

use std::path::Path;

use anyhow::Result;
use lab_agent::protocol::Machine;

use crate::hosts::accelerator::Accelerator;
use crate::hosts::shape::Counting;
use crate::hosts::shape::Shape;

/// What runs hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// QEMU.
    Qemu {
        /// How their instructions are executed.
        accelerator: Accelerator,
        /// Whether they are counted.
        counting: Counting,
    },
    /// Nothing: their kernels are processes.
    UserMode,
}

impl Platform {
    /// What runs hosts of this shape, from the Debian root `root`.
    pub fn of(shape: &Shape<'_>, root: &Path) -> Result<Self> {
        match shape.kernel.machine() {
            Machine::UserMode => Ok(Self::UserMode),
            Machine::Qemu => {
                let accelerator = Accelerator::probe(root)?;
                let counting = match accelerator {
                    Accelerator::Tcg => shape.counting,
                    // Only the translator knows what it executes.
                    Accelerator::Kvm => Counting::Off,
                };
                Ok(Self::Qemu {
                    accelerator,
                    counting,
                })
            }
        }
    }

    /// Whether instructions are counted.
    pub fn counts(self) -> bool {
        matches!(
            self,
            Self::Qemu {
                counting: Counting::On,
                ..
            }
        )
    }
}
