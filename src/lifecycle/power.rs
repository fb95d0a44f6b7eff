// SPDX-License-Identifier: GPL-2.0

//! The host is about to sleep, or to hibernate, and awake again.

use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::bindings;
use crate::base::notifier::Chain;
use crate::base::notifier::Observer;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::quiescer::StillOpen;
use crate::stream_adapter::remote_hosts::RemoteHosts;

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
        // Not on the way to sleep: whoever listens from then on would not know that the host falls asleep, but hear that
        // it is awake.
        // SAFETY: The functions may be called by any thread that may sleep, and are balanced. As for the block, as required
        // from the caller.
        unsafe {
            let flags = bindings::base_shim_lock_system_sleep();
            let result = bindings::base_shim_register_pm_notifier(block);
            bindings::base_shim_unlock_system_sleep(flags);
            result
        }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: As required from the caller.
        unsafe { bindings::base_shim_unregister_pm_notifier(block) };
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

/// Prepares for sleep: the stream driver stops its open streams when the host falls asleep without keeping their users out, so
/// all must be closed before, or the host stays awake.
#[pin_data]
pub(crate) struct SleepGuard {
    quiescer: Arc<Quiescer>,
    /// What was there when the host fell asleep, for each time that it was told to and has not been told that it is over:
    /// a process may hold a hibernation open (`/dev/snapshot`) while others have the host sleep. Each keeps rails quiesced.
    #[pin]
    asleep: Mutex<KVec<RemoteHosts>>,
}

impl SleepGuard {
    /// Has `quiescer` keep rails from their streams.
    pub(crate) fn new(quiescer: Arc<Quiescer>) -> impl PinInit<Self> {
        pin_init!(Self {
            quiescer,
            asleep <- new_mutex!(KVec::new()),
        })
    }

    fn prepare(&self) -> Result {
        let prepared = self.quiescer.quiesce().map_err(|StillOpen { streams }| {
            pr_err!("the host cannot sleep: {streams} streams cannot be closed\n");
            EBUSY
        });
        // As late as possible: hosts that come afterwards are not held.
        let prepared = prepared.and_then(|()| {
            RemoteHosts::hold().inspect_err(|error| {
                pr_err!("the host cannot sleep: the hosts it sees cannot be held ({error:?})\n");
            })
        });
        let prepared = prepared.and_then(|hosts| Ok(self.asleep.lock().push(hosts, GFP_KERNEL)?));
        prepared.inspect_err(|_| self.quiescer.resume())
    }
}

impl Observer<SleepChain> for SleepGuard {
    fn notify(&self, event: Sleep) -> Result {
        match event {
            Sleep::Begins => self.prepare(),
            Sleep::Over => {
                let hosts = self.asleep.lock().pop();
                // Nothing to whoever has not heard that it began.
                if let Some(hosts) = hosts {
                    hosts.release();
                    self.quiescer.resume();
                }
                Ok(())
            }
        }
    }
}
