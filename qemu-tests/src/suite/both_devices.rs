// SPDX-License-Identifier: GPL-2.0

//! `usb4_roce` and the kernel's rxe on the same hosts.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use crate::hosts::soft_roce;
use crate::hosts::stage::Stage;
use crate::roce;

/// Time limit of loading what programs need that connect by address.
const LIMIT: Duration = Duration::from_secs(120);

/// Brings up both devices on all hosts, for programs that connect by address as well.
pub fn bring_up(stage: &Stage<'_>) -> Result<()> {
    let names = stage.instance().names();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    soft_roce::network_up(stage, &hosts, |host| Device::Rxe.address(host))?;
    soft_roce::make_devices(stage, &hosts)?;
    roce::start(stage.instance())?;
    stage.instance().on_each(|host| {
        stage.shell(host, "modprobe rdma_ucm", LIMIT)?;
        Ok(())
    })
}

/// A verbs device of each host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// Ours.
    Usb4Roce,
    /// The kernel's, over `thunderbolt_net`.
    Rxe,
}

impl Device {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Usb4Roce, Self::Rxe];

    /// What it is called in tables and contracts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usb4Roce => "usb4_roce",
            Self::Rxe => "rxe",
        }
    }

    /// Its name on the hosts.
    pub const fn verbs_name(self) -> &'static str {
        match self {
            Self::Usb4Roce => roce::DEVICE,
            Self::Rxe => soft_roce::DEVICE,
        }
    }

    /// The first TCP port on which servers of programs on it listen. Each has another, of either device, since a port stays in use
    /// for a while.
    pub const fn first_port(self) -> u16 {
        match self {
            Self::Usb4Roce => 20_000,
            Self::Rxe => 21_000,
        }
    }

    /// IPv4 address of `host` where it reaches it.
    pub fn address(self, host: &str) -> String {
        let ours = roce::address(host);
        match self {
            Self::Usb4Roce => ours,
            // The same number in another network.
            Self::Rxe => ours.replacen("10.55.0.", "10.56.0.", 1),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
