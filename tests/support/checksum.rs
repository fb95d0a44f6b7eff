// SPDX-License-Identifier: GPL-2.0

//! The transport's checksum on the host.

use usb4_roce::transport::checksum::Checksum;

/// xxHash-64 of the `xxhash-rust` crate, and CRC-32C of the crate of that name.
pub struct HostHash;

impl Checksum for HostHash {
    fn xxh64(seed: u64, data: &[u8]) -> u64 {
        xxhash_rust::xxh64::xxh64(data, seed)
    }

    fn crc32c(crc: u32, data: &[u8]) -> u32 {
        // The crate inverts before and after.
        !crc32c::crc32c_append(!crc, data)
    }
}
