// SPDX-License-Identifier: GPL-2.0

//! Network interfaces, and who configures them.

use crate::host::address::Address;
use crate::host::Source;
use crate::root::Root;

/// A network interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Its Ethernet address.
    pub mac: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its driver, where it has a device of a bus.
    pub driver: Option<String>,
    /// Who configures it.
    pub managers: Vec<Manager>,
}

/// Who configures interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// `/etc/network/interfaces`.
    Ifupdown,
}

impl Manager {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
            Self::Ifupdown => "/etc/network/interfaces",
        }
    }
}

const INTERFACES: &str = "/sys/class/net";

impl Interface {
    /// All interfaces.
    pub fn all(source: &Source) -> Vec<Self> {
        let root = &source.root;
        let names = root.names(INTERFACES).into_iter();
        names.map(|name| Self::read(source, root, name)).collect()
    }

    fn read(source: &Source, root: &Root, name: String) -> Self {
        let directory = format!("{INTERFACES}/{name}");
        let addresses = source.addresses.iter();
        Self {
            up: is_up(root, &directory),
            mac: root.value(&format!("{directory}/address")),
            mtu: root.parsed(&format!("{directory}/mtu")),
            addresses: addresses
                .filter(|address| address.interface == name)
                .cloned()
                .collect(),
            driver: root.link_name(&format!("{directory}/device/driver")),
            managers: managers(root, &directory, &name),
            name,
        }
    }

    /// Whether it has an IPv4 address.
    pub fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(|address| address.ip.is_ipv4())
    }
}

fn is_up(root: &Root, directory: &str) -> bool {
    const IFF_UP: u32 = 1;
    let flags = root.value(&format!("{directory}/flags"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    flags.is_some_and(|flags| flags & IFF_UP != 0)
}

fn managers(root: &Root, directory: &str, name: &str) -> Vec<Manager> {
    let index = root
        .value(&format!("{directory}/ifindex"))
        .unwrap_or_default();
    let says = |path: &str, is_it: &dyn Fn(&str) -> bool| {
        let text = root.value(path).unwrap_or_default();
        text.lines().any(|line| is_it(line.trim()))
    };
    let mut managers = Vec::new();
    let path = format!("/run/NetworkManager/devices/{index}");
    if says(&path, &|line| line == "managed=true") {
        managers.push(Manager::NetworkManager);
    }
    let path = format!("/run/systemd/netif/links/{index}");
    let states = ["configuring", "configured", "failed"];
    let is_managed = |line: &str| {
        let state = line.strip_prefix("ADMIN_STATE=");
        state.is_some_and(|state| states.contains(&state))
    };
    if says(&path, &is_managed) {
        managers.push(Manager::Networkd);
    }
    let is_configured = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(name)
    };
    let mut files = vec!["/etc/network/interfaces".to_owned()];
    let more = root.names("/etc/network/interfaces.d").into_iter();
    files.extend(more.map(|file| format!("/etc/network/interfaces.d/{file}")));
    if files.iter().any(|file| says(file, &is_configured)) {
        managers.push(Manager::Ifupdown);
    }
    managers
}
