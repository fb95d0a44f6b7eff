// SPDX-License-Identifier: GPL-2.0

//! Who a host is.

use serde::Serialize;
use usb4_roce::transport::checksum::Checksum;

use crate::checksum::HostHash;

/// First byte of an Ethernet address that is unicast and locally administered (IEEE 802).
const MAC_LOCAL: u8 = 0x02;

/// What the module says about a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Names {
    /// The node GUID.
    pub guid: String,
    /// The Ethernet address.
    pub mac: String,
}

/// What the module makes of the UUID of a host's router.
pub fn of(uuid: u128) -> Names {
    let guid = ((uuid >> 64) as u64 ^ uuid as u64).max(1);
    let [a, b, c, d, e, ..] = HostHash::xxh64(0, &guid.to_le_bytes()).to_be_bytes();
    Names {
        guid: format!("{guid:016x}"),
        mac: [MAC_LOCAL, a, b, c, d, e]
            .map(|byte| format!("{byte:02x}"))
            .join(":"),
    }
}

/// Parses a UUID as sysfs shows it.
pub fn uuid(text: &str) -> Result<u128, String> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_err(|error| error.to_string())
}

/// Parses a GUID as sysfs shows it.
pub fn guid(text: &str) -> Result<u64, String> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).map_err(|error| error.to_string())
}

/// Parses an Ethernet address.
pub fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes.map_err(|error| error.to_string())?;
    bytes
        .try_into()
        .map_err(|_| "expected six bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_kernel_shows_them() {
        assert_eq!(guid("0123:4567:89ab:cdef\n"), Ok(0x0123_4567_89ab_cdef));
        assert_eq!(mac("02:00:00:00:00:ff\n"), Ok([2, 0, 0, 0, 0, 255]));
        assert!(mac("02:00").is_err());
        assert_eq!(
            uuid("00000000-0000-0001-0000-000000000002\n"),
            Ok(1 << 64 | 2)
        );
    }

    #[test]
    fn a_host_is_both_halves_of_its_uuid() {
        let names = of(1 << 64 | 2);
        assert_eq!(names.guid, "0000000000000003");
        assert_eq!(mac(&names.mac).map(|mac| mac[0]), Ok(MAC_LOCAL));
    }
}
