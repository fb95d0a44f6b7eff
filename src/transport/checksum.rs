// SPDX-License-Identifier: GPL-2.0

//! The checksum over headers and payloads, supplied by the caller.

/// xxHash-64, as the kernel's `xxh64()` computes it.
pub trait Checksum {
    /// The hash of `data` with this seed.
    fn xxh64(seed: u64, data: &[u8]) -> u64;
}

/// Key of all checksums of one session, known only to its two ends.
///
/// It keeps frames of an earlier session, and headers forged inside a payload, from being taken
/// for frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seed(u64);

impl Seed {
    /// The seed of frames that are exchanged before a session exists: the handshake's.
    pub const HANDSHAKE: Self = Self(0x5542_3452);

    /// The seed of the session between two ends with these session ids; the same on both ends.
    pub fn of_session<C: Checksum>(one: u64, other: u64) -> Self {
        let (low, high) = if one < other {
            (one, other)
        } else {
            (other, one)
        };
        let mut ids = [0; 16];
        ids[..8].copy_from_slice(&low.to_le_bytes());
        ids[8..].copy_from_slice(&high.to_le_bytes());
        Self(C::xxh64(Self::HANDSHAKE.0, &ids))
    }

    /// The seed of the hash; for callers that hash a payload piece by piece.
    pub const fn key(self) -> u64 {
        self.0
    }

    /// The checksum that a hash makes: its low half.
    pub const fn shorten(hash: u64) -> u32 {
        hash as u32
    }

    /// The checksum of bytes that lie in one piece. The padding of a payload is not covered.
    pub fn checksum<C: Checksum>(self, bytes: &[u8]) -> u32 {
        Self::shorten(C::xxh64(self.0, bytes))
    }
}
