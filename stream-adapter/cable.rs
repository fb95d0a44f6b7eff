// SPDX-License-Identifier: GPL-2.0

//! The cable under a rail, as the thunderbolt core shows it.

use kernel::prelude::*;
use kernel::str::CString;

use super::client::Rate;
use super::controller::host_router;
use super::controller::DeviceRef;

/// The stream service of a cable: `<domain>-<route>.<number>`, such as `0-1.0`.
///
/// Streams do not tell what they run over, so whoever configures a rail says it.
pub struct Service {
    /// Number of the domain, that is, of the controller.
    domain: u32,
    /// Name of the other host's device.
    host: CString,
}

impl Service {
    /// Parses a name. Fails with `EINVAL` if it is none.
    pub fn parse(name: &str) -> Result<Self> {
        let (host, number) = name.split_once('.').ok_or(EINVAL)?;
        let (domain, route) = host.split_once('-').ok_or(EINVAL)?;
        number.parse::<u32>().map_err(|_| EINVAL)?;
        // The driver prints it so.
        u64::from_str_radix(route, 16).map_err(|_| EINVAL)?;
        Ok(Self {
            domain: domain.parse().map_err(|_| EINVAL)?,
            host: CString::try_from_fmt(fmt!("{host}"))?,
        })
    }

    /// What the cable carries each way as it is now; nothing if the core does not show it. Sleeps.
    pub fn rate(&self) -> Option<Rate> {
        let router = host_router(self.domain)?;
        let host = router.find_child(&self.host)?;
        let receive = direction(&host, c"rx_speed", c"rx_lanes")?;
        let transmit = direction(&host, c"tx_speed", c"tx_lanes")?;
        Some(Rate(receive.min(transmit)))
    }
}

/// What the lanes of a direction carry together, in Mb/s.
fn direction(host: &DeviceRef, speed: &CStr, lanes: &CStr) -> Option<u32> {
    /// Mb/s of a Gb/s.
    const GIGABIT: u32 = 1_000;
    // "40.0 Gb/s" a lane; only whole numbers are in use.
    let speed: u32 = host.attribute(speed, leading_number)?;
    let lanes: u32 = host.attribute(lanes, leading_number)?;
    speed.checked_mul(lanes)?.checked_mul(GIGABIT)
}

/// The decimal number at the beginning of `text`.
fn leading_number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    core::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}
