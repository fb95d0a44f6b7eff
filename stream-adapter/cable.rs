// SPDX-License-Identifier: GPL-2.0

//! The cable under a rail, as the thunderbolt core shows it.

use kernel::prelude::*;
use kernel::str::CString;

use super::client::Rate;
use super::controller::host_router;
use super::controller::DeviceRef;
use crate::transport::rail::router_uuid::RouterUuid;

/// The stream service of a cable: `<domain>-<route>.<number>`, such as `0-1.0`.
///
/// Streams do not tell what they run over, so whoever configures a rail says it.
pub struct Service {
    /// Number of the domain, that is, of the controller.
    domain: u32,
    /// Name of the other host's device. A host that is connected by several cables has one for each.
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

    /// The other host, as the thunderbolt core sees it now.
    fn remote(&self) -> Option<DeviceRef> {
        host_router(self.domain)?.find_child(&self.host)
    }

    /// What the cable is called: by the other host's device at its end.
    pub fn cable(&self) -> &CStr {
        &self.host
    }

    /// What the cable carries each way as it is now; nothing if the core does not know it. Sleeps.
    pub fn rate(&self) -> Option<Rate> {
        self.remote()?.cable_rate().map(Rate)
    }

    /// The router at the other end of the cable, as reported by XDomain discovery; nothing if the core does not know it.
    /// Sleeps.
    pub fn router(&self) -> Option<RouterUuid> {
        self.remote()?.remote_router()
    }
}
