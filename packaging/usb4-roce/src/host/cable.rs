// SPDX-License-Identifier: GPL-2.0

//! Cables to other hosts ("XDomains").

use crate::host::bus::Bus;
use crate::host::link_rate::LinkRate;
use crate::root::Reading;
use crate::root::Root;

/// A cable to another host.
#[derive(Clone, Debug)]
pub struct Cable {
    /// What the kernel calls the other host at its end, such as `0-1`.
    pub name: String,
    /// Number of the domain.
    pub domain: u32,
    /// Number of this host's port.
    pub port: u32,
    /// What the other host calls itself.
    pub peer: Option<String>,
    /// The other host's UUID.
    pub uuid: Option<String>,
    /// What it carries to the other host.
    pub tx: Option<LinkRate>,
    /// What it carries from there.
    pub rx: Option<LinkRate>,
    /// What this host's port can.
    pub port_rate: Reading<LinkRate>,
    /// What the other host offers.
    pub services: Vec<Service>,
}

/// Something that the other host offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What the kernel calls it, such as `0-1.0`.
    pub name: String,
    /// What it is, such as `stream`.
    pub key: String,
    /// Its driver here.
    pub driver: Option<String>,
}

/// The key of the service that carries streams.
const STREAM: &str = "stream";

impl Cable {
    /// All cables to other hosts.
    pub fn all(root: &Root) -> Vec<Self> {
        let names = root.names(Bus::DEVICES);
        let cables = names
            .iter()
            .filter_map(|name| Self::read(root, name, &names));
        cables.collect()
    }

    fn read(root: &Root, name: &str, names: &[String]) -> Option<Self> {
        let directory = format!("{}/{name}", Bus::DEVICES);
        let uevent = root.value(&format!("{directory}/uevent"))?;
        if !uevent
            .lines()
            .any(|line| line == "DEVTYPE=thunderbolt_xdomain")
        {
            return None;
        }
        let (domain, port) = place(name)?;
        let services = names.iter().filter(|service| {
            let number = service
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'));
            number.is_some()
        });
        Some(Self {
            name: name.to_owned(),
            domain,
            port,
            peer: root.value(&format!("{directory}/device_name")),
            uuid: root.value(&format!("{directory}/unique_id")),
            tx: LinkRate::read(root, &directory, "tx"),
            rx: LinkRate::read(root, &directory, "rx"),
            port_rate: port_rate(root, domain, port),
            services: services.map(|name| Service::read(root, name)).collect(),
        })
    }

    /// The service that carries streams, if the other host offers it.
    pub fn stream_service(&self) -> Option<&Service> {
        self.services.iter().find(|service| service.key == STREAM)
    }

    /// What it carries in the direction in which it carries less.
    pub fn rate(&self) -> Option<LinkRate> {
        let (tx, rx) = (self.tx?, self.rx?);
        Some(if rx.gbps() < tx.gbps() { rx } else { tx })
    }
}

impl Service {
    fn read(root: &Root, name: &str) -> Self {
        let directory = format!("{}/{name}", Bus::DEVICES);
        Self {
            name: name.to_owned(),
            key: root.value(&format!("{directory}/key")).unwrap_or_default(),
            driver: root.link_name(&format!("{directory}/driver")),
        }
    }
}

/// Domain and port at the host's router of `<domain>-<route>`: a route has a byte for each router on the way, the host's last.
fn place(name: &str) -> Option<(u32, u32)> {
    const PORT_MASK: u64 = 0x3f;
    let (domain, route) = name.split_once('-')?;
    let route = u64::from_str_radix(route, 16).ok()?;
    Some((domain.parse().ok()?, u32::try_from(route & PORT_MASK).ok()?))
}

/// Only debugfs has the registers of a port, and only for root.
fn port_rate(root: &Root, domain: u32, port: u32) -> Reading<LinkRate> {
    let file = format!("/sys/kernel/debug/thunderbolt/{domain}-0/port{port}/regs");
    root.reading(&file)
        .and_then(|registers| LinkRate::of_registers(&registers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_host_s_router() {
        assert_eq!(place("0-1"), Some((0, 1)));
        assert_eq!(place("1-303"), Some((1, 3)));
        assert_eq!(place("x-1"), None);
        assert_eq!(place("domain0"), None);
    }
}
