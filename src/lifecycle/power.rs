// SPDX-License-Identifier: GPL-2.0

//! The host is about to sleep, or to hibernate, and awake again.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::sleep_notice::Sleeper;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::quiescer::StillOpen;
use crate::stream_adapter::remote_hosts::RemoteHosts;

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
    fn fall_asleep(&self) -> Result {
        let hosts = self.quiesce()?;
        *self.asleep.lock() = Some(hosts);
        Ok(())
    }

    fn wake(&self) {
        let hosts = self.asleep.lock().take();
        // Attempts may fail before rails are quiesced.
        if hosts.is_some() {
            drop(hosts);
            self.quiescer.resume();
        }
    }
}
