// SPDX-License-Identifier: GPL-2.0

//! Keeping idle processors from a sleep that takes long to wake from, as long as something is under way that waits for them.

use kernel::prelude::*;
use kernel::types::Opaque;

use crate::base::bindings;

/// In how many microseconds an idle processor has to be awake: that leaves it the sleeps that are fit for a network, and forbids those of
/// more than a message takes from one program to the other.
const LIMIT_US: i32 = 20;

/// A request to the kernel's power management (Documentation/power/pm_qos_interface.rst, `/dev/cpu_dma_latency`). Dropping it withdraws it.
///
/// # Invariants
///
/// `request` is in the kernel's list if and only if `is_made`.
pub struct CpuLatency {
    request: KBox<Opaque<bindings::pm_qos_request>>,
    is_made: bool,
}

// SAFETY: A request may be made by one thread and withdrawn by another.
unsafe impl Send for CpuLatency {}

impl CpuLatency {
    /// A request that is not made yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            request: KBox::new(Opaque::uninit(), GFP_KERNEL)?,
            is_made: false,
        })
    }

    /// Makes the request, if it was not. Sleeps.
    pub fn request(&mut self) {
        if !self.is_made {
            // SAFETY: The request is in no list, and stays where it is until it is taken out.
            unsafe { bindings::base_shim_limit_cpu_latency(self.request.get(), LIMIT_US) };
            self.is_made = true;
        }
    }

    /// Withdraws it, if it was made. Sleeps.
    pub fn withdraw(&mut self) {
        if self.is_made {
            // SAFETY: By the type's invariants it is in the list.
            unsafe { bindings::base_shim_unlimit_cpu_latency(self.request.get()) };
            self.is_made = false;
        }
    }
}

impl Drop for CpuLatency {
    fn drop(&mut self) {
        self.withdraw();
    }
}
