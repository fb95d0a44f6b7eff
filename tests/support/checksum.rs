// SPDX-License-Identifier: GPL-2.0

//! The transport's checksum on the host.

use usb4_roce::transport::checksum::Algorithm;
use usb4_roce::transport::checksum::Checksum;
use usb4_roce::transport::checksum::RunningChecksum;
use usb4_roce::transport::checksum::Seed;
use xxhash_rust::xxh64::Xxh64;

/// xxHash-64 of the `xxhash-rust` crate, and CRC-32C of the crate of that name.
pub struct HostHash;

/// Either of them, piece by piece.
pub enum HostRunning {
    Xxh64(Xxh64),
    Crc32c(u32),
}

impl RunningChecksum for HostRunning {
    fn new(seed: Seed) -> Self {
        match seed.algorithm() {
            Algorithm::Xxh64 => Self::Xxh64(Xxh64::new(seed.key())),
            Algorithm::Crc32c => Self::Crc32c(seed.initial_crc()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Xxh64(state) => state.update(bytes),
            Self::Crc32c(crc) => *crc = HostHash::crc32c(*crc, bytes),
        }
    }

    fn finish(&self) -> u32 {
        match self {
            Self::Xxh64(state) => Seed::shorten(state.digest()),
            Self::Crc32c(crc) => *crc,
        }
    }
}

impl Checksum for HostHash {
    type Running = HostRunning;

    fn xxh64(seed: u64, data: &[u8]) -> u64 {
        xxhash_rust::xxh64::xxh64(data, seed)
    }

    fn crc32c(crc: u32, data: &[u8]) -> u32 {
        // The crate inverts before and after.
        !crc32c::crc32c_append(!crc, data)
    }
}
