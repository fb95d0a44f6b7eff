// SPDX-License-Identifier: GPL-2.0

//! A device's GID table, from sysfs: it can be read without opening the device.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv6Addr;

use anyhow::Context as _;

/// The GID that stands for an address.
pub fn gid_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Where the table of `device`'s only port has the RoCE v2 GID for `address`.
pub fn index_of(device: &str, address: IpAddr) -> anyhow::Result<u8> {
    const ENTRIES: u8 = 32;
    let port = format!("/sys/class/infiniband/{device}/ports/1");
    let wanted = Ipv6Addr::from(gid_of(address));
    (0..ENTRIES)
        .find(|index| {
            let read = |what: &str| fs::read_to_string(format!("{port}/{what}/{index}"));
            let gid = read("gids").unwrap_or_default();
            let kind = read("gid_attrs/types").unwrap_or_default();
            gid.trim().parse() == Ok(wanted) && kind.trim() == "RoCE v2"
        })
        .with_context(|| format!("{device} has no RoCE v2 GID for {address}"))
}
