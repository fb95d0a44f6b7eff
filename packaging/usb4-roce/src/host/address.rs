// SPDX-License-Identifier: GPL-2.0

//! Addresses of network interfaces.

use std::fmt;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// How many of its bits name the network.
    pub prefix: u32,
}

impl Address {
    /// Whether both are in the same IPv4 or IPv6 network. Link-local addresses of different interfaces are in different ones.
    pub fn shares_network(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (IpAddr::V4(one), IpAddr::V4(two)) => {
                let mask = u32::MAX
                    .checked_shl(32 - self.prefix.min(other.prefix))
                    .unwrap_or(0);
                one.to_bits() & mask == two.to_bits() & mask
            }
            (IpAddr::V6(one), IpAddr::V6(two)) => {
                let mask = u128::MAX
                    .checked_shl(128 - self.prefix.min(other.prefix))
                    .unwrap_or(0);
                !one.is_unicast_link_local() && one.to_bits() & mask == two.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// The addresses of this host's interfaces; none if the kernel does not tell.
pub fn of_this_host() -> Vec<Address> {
    let ip = |address: &SockaddrStorage| -> Option<IpAddr> {
        let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    let entries = getifaddrs().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let prefix = match entry.netmask.as_ref().and_then(ip) {
                Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
                Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
                None => 0,
            };
            Some(Address {
                ip: ip(&entry.address?)?,
                interface: entry.interface_name,
                prefix,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        let (ip, prefix) = text.split_once('/').unwrap();
        Address {
            interface: String::new(),
            ip: ip.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    #[test]
    fn networks_are_shared_by_their_bits() {
        for (one, other, shared) in [
            ("10.55.0.1/24", "10.55.0.9/24", true),
            ("10.55.0.1/24", "10.55.1.9/24", false),
            ("10.55.0.1/24", "10.0.0.1/8", true),
            ("10.55.0.1/32", "10.55.0.2/32", false),
            ("0.0.0.0/0", "10.0.0.1/8", true),
            ("fe80::1/64", "fe80::2/64", false),
            ("fd00::1/64", "fd00::2/64", true),
            ("fd00::1/64", "10.0.0.1/8", false),
        ] {
            let (one, other) = (address(one), address(other));
            assert_eq!(one.shares_network(&other), shared, "{one} {other}");
        }
    }
}
