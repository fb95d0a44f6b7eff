// SPDX-License-Identifier: GPL-2.0

//! Pulling a cable and plugging it in again by the clock.

use std::thread;
use std::time::Duration;

use super::Client;
use super::ClientError;

/// A cable that is in for a while and then out for a while, so many times. It ends plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long it stays in before it is pulled.
    pub plugged: Duration,
    /// How long it stays out.
    pub unplugged: Duration,
    /// How often it is pulled.
    pub times: u32,
}

impl Schedule {
    /// Follows the schedule with the cable named `cable`; `tell` hears of each pull, from 1, as it happens. The cable is
    /// plugged in again even if pulling it fails half-way.
    pub fn follow(
        &self,
        client: &mut Client,
        cable: &str,
        mut tell: impl FnMut(u32),
    ) -> Result<(), ClientError> {
        for time in 1..=self.times {
            thread::sleep(self.plugged);
            tell(time);
            let pulled = client.unplug(cable);
            if pulled.is_ok() {
                thread::sleep(self.unplugged);
            }
            client.plug(cable)?;
            pulled?;
        }
        Ok(())
    }
}
