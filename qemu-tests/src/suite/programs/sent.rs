// SPDX-License-Identifier: GPL-2.0

//! That it was RDMA: what the hosts have sent, by the device's counters and by the interface's.

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::HOSTS;
use super::LIMIT;
use crate::hosts::stage::Stage;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// What a host has sent so far.
#[derive(Clone, Copy)]
struct Sent {
    /// Bytes of all the device's frames.
    device: u64,
    /// Bytes of the interface's packets, which go the same way.
    interface: u64,
}

impl Sent {
    fn of(stage: &Stage<'_>, host: &str) -> Result<Self> {
        // The device's values are kept for 10 ms.
        let script = format!(
            "sleep 0.1
            cat /sys/class/infiniband/{DEVICE}/ports/1/hw_counters/sent_bytes
            cat /sys/class/net/{INTERFACE}/statistics/tx_bytes"
        );
        let text = stage.shell(host, &script, LIMIT)?;
        let mut values = text.lines().map(str::parse);
        let mut next = || values.next().context("a counter is missing");
        Ok(Self {
            device: next()?.context("the device's bytes")?,
            interface: next()?.context("the interface's bytes")?,
        })
    }
}

/// Does `what`, by which the hosts have to send at least so many bytes by RDMA, each of [`HOSTS`] its own, and hardly any as packets.
pub fn by_rdma<T>(
    stage: &Stage<'_>,
    least: [u64; 2],
    what: impl FnOnce() -> Result<T>,
) -> Result<T> {
    /// One byte in so many may be a packet's: programs find each other by TCP.
    const SHARE: u64 = 20;
    let before = HOSTS.map(|host| Sent::of(stage, host));
    let result = what()?;
    for ((host, before), least) in HOSTS.into_iter().zip(before).zip(least) {
        let (before, after) = (before?, Sent::of(stage, host)?);
        let device = after.device - before.device;
        let interface = after.interface - before.interface;
        stage.note(&format!(
            "{host} has sent {device} bytes by RDMA, and {interface} as packets"
        ));
        ensure!(
            device >= least,
            "{host} has sent no more than {device} bytes by RDMA, in place of {least}"
        );
        ensure!(
            interface <= least / SHARE,
            "{host} has sent {interface} bytes as packets"
        );
    }
    Ok(result)
}
