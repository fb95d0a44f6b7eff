// SPDX-License-Identifier: GPL-2.0

//! The transport's checksum on the host.

use usb4_roce::transport::checksum::Checksum;

/// CRC-32C of the `crc32c` crate.
pub struct HostCrc;

impl Checksum for HostCrc {
    fn crc32c(state: u32, data: &[u8]) -> u32 {
        // The crate inverts the state at both ends; the transport's trait does not.
        !crc32c::crc32c_append(!state, data)
    }
}
