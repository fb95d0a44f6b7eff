// SPDX-License-Identifier: GPL-2.0

//! The address that a host has on the cable without being given one.

use std::net::Ipv6Addr;

/// The link-local IPv6 address that is made of an Ethernet address.
pub fn link_local(mac: &str) -> Option<Ipv6Addr> {
    /// Says whether an address is unique in the world.
    const UNIVERSAL: u8 = 1 << 1;
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect::<Option<_>>()?;
    let [a, b, c, d, e, f] = bytes.try_into().ok()?;
    let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f];
    octets[8] ^= UNIVERSAL;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_made_of_ethernet_s() {
        let address = link_local("02:92:af:e3:7e:81").unwrap();
        assert_eq!(address.to_string(), "fe80::92:afff:fee3:7e81");
        for mac in ["", "02:92", "02:92:af:e3:7e:xx", "02:92:af:e3:7e:81:00"] {
            assert_eq!(link_local(mac), None);
        }
    }
}
