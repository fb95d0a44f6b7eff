// SPDX-License-Identifier: GPL-2.0

//! What is at the controllers' ports.

use serde::Serialize;

use crate::host::cable::Cable;
use crate::root::Root;

/// All ports, and the cables to other hosts.
#[derive(Clone, Debug)]
pub struct Bus {
    /// The host's ports.
    pub ports: Vec<Port>,
    /// Cables to other hosts.
    pub cables: Vec<Cable>,
    /// Whether the driver looks for other hosts at all.
    pub discovery: Discovery,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Number of its domain.
    pub domain: u32,
    /// Its number.
    pub number: u32,
    /// What its link is: `usb4`, `tbt` or `none`.
    pub link: String,
}

/// Whether the driver looks for other hosts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// It does.
    On,
    /// It was told not to, with `thunderbolt.xdomain=0`.
    Off,
}

impl Bus {
    /// Where the thunderbolt core shows its devices.
    pub const DEVICES: &'static str = "/sys/bus/thunderbolt/devices";

    /// Reads what is plugged in.
    pub fn read(root: &Root) -> Self {
        let off = root.value("/sys/module/thunderbolt/parameters/xdomain");
        Self {
            ports: ports(root),
            cables: Cable::all(root),
            discovery: match off.as_deref() {
                Some("N") => Discovery::Off,
                _ => Discovery::On,
            },
        }
    }

    /// Ports whose link is up, and at which no other host is known.
    pub fn unknown_ends(&self) -> Vec<&Port> {
        let mut ports: Vec<&Port> = self.ports.iter().collect();
        ports.retain(|port| {
            let is_here = |cable: &Cable| (cable.domain, cable.port) == (port.domain, port.number);
            port.link != "none" && !self.cables.iter().any(is_here)
        });
        ports
    }
}

fn ports(root: &Root) -> Vec<Port> {
    let mut ports = Vec::new();
    for router in root.names(Bus::DEVICES) {
        let Some(domain) = router.strip_suffix("-0").and_then(|text| text.parse().ok()) else {
            continue;
        };
        let directory = format!("{}/{router}", Bus::DEVICES);
        for name in root.names(&directory) {
            let number = name.strip_prefix("usb4_port");
            let Some(number) = number.and_then(|text| text.parse().ok()) else {
                continue;
            };
            if let Some(link) = root.value(&format!("{directory}/{name}/link")) {
                ports.push(Port {
                    domain,
                    number,
                    link,
                });
            }
        }
    }
    ports
}
