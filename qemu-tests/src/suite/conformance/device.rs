// SPDX-License-Identifier: GPL-2.0

//! The devices that are compared.

use std::fmt;

use crate::hosts::soft_roce;
use crate::roce;

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
