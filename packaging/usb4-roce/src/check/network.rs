// SPDX-License-Identifier: GPL-2.0

//! Does the network interface have an address, does the device have a GID of it, and does nobody else interfere?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::device::AddressKind;
use crate::host::interface::Interface;
use crate::host::interface::Manager;
use crate::host::Host;
use crate::host::INTERFACE;

const NETWORK_INTERFACE: &str = "interface";
const ADDRESS: &str = "address";
const GID: &str = "gid";
const MANAGERS: &str = "network-managers";
const NETWORKS: &str = "networks";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    if host.device.is_none() {
        return vec![Finding::skipped(
            NETWORK_INTERFACE,
            "there is no verbs device",
        )];
    }
    let Some(interface) = host.interface() else {
        return vec![Finding::fault(
            NETWORK_INTERFACE,
            format!("there is no interface {INTERFACE} in this network namespace"),
            Remedy::new(
                "In a container, use the host's network. On the host, see what has become of it.",
            )
            .run("ip -d link show | grep -A 1 usb4"),
        )];
    };
    let mut findings = vec![up(interface), address(interface), gid(host, interface)];
    findings.push(managers(interface));
    findings.push(networks(host, interface));
    findings
}

fn up(interface: &Interface) -> Finding {
    let name = &interface.name;
    match interface.up {
        true => {
            let mtu = interface.mtu.unwrap_or_default();
            Finding::ok(
                NETWORK_INTERFACE,
                format!("{name} is up, its packets have up to {mtu} bytes"),
            )
        }
        false => Finding::fault(
            NETWORK_INTERFACE,
            format!("{name} is not set up"),
            Remedy::new("Set it up.").run(format!("sudo ip link set {name} up")),
        ),
    }
}

fn address(interface: &Interface) -> Finding {
    let name = &interface.name;
    if interface.has_ipv4() {
        let addresses: Vec<String> = interface
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        return Finding::ok(ADDRESS, format!("{name} has {}", addresses.join(", ")));
    }
    let (text, command) = match interface.managers.first() {
        Some(Manager::NetworkManager) => (
            "NetworkManager manages it: start its profile, which the package brings.",
            "sudo nmcli connection up usb4-roce".to_owned(),
        ),
        Some(Manager::Networkd) => (
            "systemd-networkd manages it: have it read its files again, one of which the package brings.",
            format!("sudo networkctl reload && sudo networkctl reconfigure {name}"),
        ),
        Some(Manager::Ifupdown) => (
            "It is in /etc/network/interfaces: give it an address there, and set it up.",
            format!("sudo ifup --force {name}"),
        ),
        None => (
            "Give it one, until the next boot; another number on the other host.",
            format!("sudo ip address add 10.55.0.1/24 dev {name}"),
        ),
    };
    Finding::fault(
        ADDRESS,
        format!("{name} has no IPv4 address, which many programs look for"),
        Remedy::new(text).run(command),
    )
}

fn gid(host: &Host, interface: &Interface) -> Finding {
    let name = &interface.name;
    let found = host
        .device
        .as_ref()
        .and_then(|device| device.gid(AddressKind::V4));
    match found {
        Some(gid) => Finding::ok(GID, format!("number {}, RoCE v2, {}", gid.index, gid.ip)),
        None if !interface.has_ipv4() => {
            Finding::skipped(GID, "there is no IPv4 address that it could be")
        }
        None => Finding::fault(
            GID,
            "the device has no RoCE v2 GID with the interface's IPv4 address",
            Remedy::new("The kernel makes it when the interface is up: set it down and up again.")
                .run(format!(
                    "sudo ip link set {name} down && sudo ip link set {name} up"
                )),
        ),
    }
}

fn managers(interface: &Interface) -> Finding {
    let name = &interface.name;
    let all: Vec<&str> = interface
        .managers
        .iter()
        .map(|manager| manager.name())
        .collect();
    match interface.managers[..] {
        [] => Finding::ok(MANAGERS, format!("nobody manages {name}")),
        [manager] => Finding::ok(MANAGERS, format!("{} manages {name}", manager.name())),
        [..] => Finding::warning(
            MANAGERS,
            format!(
                "{} manage {name}, and undo each other's settings",
                all.join(" and ")
            ),
            if interface.managers.contains(&Manager::NetworkManager) {
                Remedy::new("Leave it to one of them, for instance by keeping NetworkManager away.")
                    .run(format!("sudo nmcli device set {name} managed no"))
            } else {
                Remedy::new("Leave it to one of them: take it out of /etc/network/interfaces.")
            },
        ),
    }
}

fn networks(host: &Host, interface: &Interface) -> Finding {
    for own in &interface.addresses {
        for other in &host.interfaces {
            let is_other = other.name != interface.name;
            let mut theirs = other.addresses.iter();
            let clash = theirs.find(|address| is_other && address.shares_network(own));
            if let Some(address) = clash {
                return Finding::warning(
                    NETWORKS,
                    format!("{} has {address}, in the same network as {own}: packets may take the wrong way", other.name),
                    Remedy::new("Give one of them an address of another network.")
                        .run(format!("ip route get {}", own.ip)),
                );
            }
        }
    }
    Finding::ok(
        NETWORKS,
        format!(
            "no other interface shares a network with {}",
            interface.name
        ),
    )
}
