// SPDX-License-Identifier: GPL-2.0

//! The host is about to reboot, halt or power off.

use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;
use kernel::prelude::*;

use crate::base::bindings;
use crate::base::notifier::Chain;
use crate::base::notifier::Observer;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::quiescer::StillOpen;

/// Its chain: called before devices are shut down. Processes may still run, before, meanwhile and after.
pub(crate) enum RebootChain {}

/// The host goes down.
pub(crate) struct GoesDown;

// SAFETY: The reboot notifier list is a blocking notifier chain.
unsafe impl Chain for RebootChain {
    type Event = GoesDown;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: As required from the caller.
        unsafe { bindings::register_reboot_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: As required from the caller.
        unsafe { bindings::unregister_reboot_notifier(block) };
    }

    unsafe fn event(_action: c_ulong, _command: *mut c_void) -> Option<GoesDown> {
        Some(GoesDown)
    }
}

/// The controllers must be idle when the host goes down.
impl Observer<RebootChain> for Quiescer {
    fn notify(&self, GoesDown: GoesDown) {
        if let Err(StillOpen { streams }) = self.quiesce_for_good() {
            pr_err!("the host goes down with {streams} streams open, which cannot be closed\n");
        }
    }
}
