// SPDX-License-Identifier: GPL-2.0

//! The host is about to sleep, or to hibernate, and awake again.

use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;
use kernel::prelude::*;

use crate::notifier::Chain;
use crate::stream_adapter::bindings;

/// Its chain: called before processes are frozen, and after they have been thawed.
pub(crate) enum SleepChain {}

/// On the way to sleep and back. An attempt may fail on the way; then it is over as well. Whoever refuses it is not
/// told that it is over.
pub(crate) enum Sleep {
    /// The host is about to be suspended, to write its memory to a disk, or to have it replaced by what is on a disk.
    Begins,
    /// It is awake again, or has not slept after all.
    Over,
}

// SAFETY: The list of power management notifiers is a blocking notifier chain.
unsafe impl Chain for SleepChain {
    type Event = Sleep;
    type Answer = Result;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: As required from the caller.
        unsafe { bindings::register_pm_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: As required from the caller.
        unsafe { bindings::unregister_pm_notifier(block) };
    }

    unsafe fn event(action: c_ulong, _data: *mut c_void) -> Option<Sleep> {
        match u32::try_from(action).ok()? {
            bindings::PM_SUSPEND_PREPARE
            | bindings::PM_HIBERNATION_PREPARE
            | bindings::PM_RESTORE_PREPARE => Some(Sleep::Begins),
            bindings::PM_POST_SUSPEND
            | bindings::PM_POST_HIBERNATION
            | bindings::PM_POST_RESTORE => Some(Sleep::Over),
            _ => None,
        }
    }
}
