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
use crate::base::sleep_notice::Sleeper;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::quiescer::StillOpen;
use crate::stream_adapter::remote_hosts::RemoteHosts;

/// Its chain: called when processes have been thawed after a sleep, or after an attempt that has failed on the way.
pub(crate) enum AwakeChain {}

/// The host is awake again, or has not slept after all.
pub(crate) struct Awake;

// SAFETY: The list of power management notifiers is a blocking notifier chain.
unsafe impl Chain for AwakeChain {
    type Event = Awake;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: As required from the caller.
        unsafe { bindings::base_shim_register_pm_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: As required from the caller.
        unsafe { bindings::base_shim_unregister_pm_notifier(block) };
    }

    unsafe fn event(action: c_ulong, _data: *mut c_void) -> Option<Awake> {
        match u32::try_from(action).ok()? {
            bindings::PM_POST_SUSPEND
            | bindings::PM_POST_HIBERNATION
            | bindings::PM_POST_RESTORE => Some(Awake),
            _ => None,
        }
    }
}

/// Prepares for sleep: the stream driver stops its open streams when the host falls asleep without keeping their users out, so
/// all must be closed before, or the host stays awake. Not before everybody is frozen: a file system may be on the other host, and who
/// waits for it then would never come to the freezer.
#[pin_data]
pub(crate) struct SleepGuard {
    quiescer: Arc<Quiescer>,
    /// What was there when the host fell asleep, for which rails are quiesced, until it is awake.
    #[pin]
    asleep: Mutex<Option<RemoteHosts>>,
}

impl SleepGuard {
    /// Has `quiescer` keep rails from their streams.
    pub(crate) fn new(quiescer: Arc<Quiescer>) -> impl PinInit<Self> {
        pin_init!(Self {
            quiescer,
            asleep <- new_mutex!(None),
        })
    }

    /// Quiesces rails; gives what is there when that is done.
    fn quiesce(&self) -> Result<RemoteHosts> {
        let quiesced = self.quiescer.quiesce().map_err(|StillOpen { streams }| {
            pr_err!("the host cannot sleep: {streams} streams cannot be closed\n");
            EBUSY
        });
        // As late as possible: hosts that come afterwards are not held.
        let hosts = quiesced.and_then(|()| {
            RemoteHosts::hold().inspect_err(|error| {
                pr_err!("the host cannot sleep: the hosts it sees cannot be held ({error:?})\n");
            })
        });
        hosts.inspect_err(|_| self.quiescer.resume())
    }
}

impl Sleeper for SleepGuard {
    fn prepare(&self) -> Result {
        // Nobody else prepares for sleep, or is awake, meanwhile: the kernel does one after the other.
        if self.asleep.lock().is_none() {
            let hosts = self.quiesce()?;
            *self.asleep.lock() = Some(hosts);
        }
        Ok(())
    }
}

impl Observer<AwakeChain> for SleepGuard {
    fn notify(&self, Awake: Awake) {
        let hosts = self.asleep.lock().take();
        // Attempts may fail before rails are quiesced.
        if let Some(hosts) = hosts {
            hosts.release();
            self.quiescer.resume();
        }
    }
}
