// SPDX-License-Identifier: GPL-2.0

//! The transport's checksum on the host.

use usb4_roce::transport::checksum::Checksum;

/// CRC-32 of the `crc32fast` crate.
pub struct HostCrc;

impl Checksum for HostCrc {
    fn crc32(state: u32, data: &[u8]) -> u32 {
        // The crate inverts the state at both ends; the transport's trait does not.
        let mut hasher = crc32fast::Hasher::new_with_initial(!state);
        hasher.update(data);
        !hasher.finalize()
    }
}
