// SPDX-License-Identifier: GPL-2.0

//! The checksum over headers and payloads, supplied by the caller.

/// A checksum of bytes that come piece by piece: equals that of all pieces one after the other.
pub trait RunningChecksum {
    /// The checksum of nothing yet, in the session with this seed.
    fn new(seed: Seed) -> Self;

    /// Goes on with these bytes.
    fn update(&mut self, bytes: &[u8]);

    /// The checksum of all bytes so far.
    fn finish(&self) -> u32;
}

/// The two hash functions that checksums are made of.
pub trait Checksum {
    /// For bytes that come piece by piece.
    type Running: RunningChecksum;

    /// xxHash-64 of `data` with this seed, as the kernel's `xxh64()` computes it.
    fn xxh64(seed: u64, data: &[u8]) -> u64;

    /// CRC-32C of `data`, going on from `crc`, with nothing inverted before or after, as the kernel's `crc32c()`
    /// computes it.
    fn crc32c(crc: u32, data: &[u8]) -> u32;
}

/// What the checksums of a session are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// The low half of an xxHash-64, fast on every processor.
    Xxh64,
    /// A CRC-32C, for which many processors have an instruction that takes eight bytes at a time.
    Crc32c,
}

impl Algorithm {
    /// Its name, for log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xxh64 => "XXH64",
            Self::Crc32c => "CRC-32C",
        }
    }
}

/// Key of all checksums of one session, known only to its two ends, and what they are; and the word that its headers begin
/// with.
///
/// It keeps frames of an earlier session, and headers forged inside a payload, from being taken
/// for frames. A checksum has 32 bits, so few that a process can try them all in minutes; to hit the word as well takes
/// thousands of years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seed {
    sync_word: u32,
    key: u64,
    algorithm: Algorithm,
}

impl Seed {
    /// The seed of frames that are exchanged before a session exists: the handshake's.
    pub const HANDSHAKE: Self = Self {
        // "UR4E"
        sync_word: 0x4534_5255,
        key: 0x5542_3452,
        algorithm: Algorithm::Xxh64,
    };

    /// The seed of the session between two ends with these session ids; the same on both ends.
    pub fn of_session<C: Checksum>(one: u64, other: u64, algorithm: Algorithm) -> Self {
        let (low, high) = if one < other {
            (one, other)
        } else {
            (other, one)
        };
        let mut ids = [0; 16];
        ids[..8].copy_from_slice(&low.to_le_bytes());
        ids[8..].copy_from_slice(&high.to_le_bytes());
        let key = C::xxh64(Self::HANDSHAKE.key, &ids);
        Self {
            // The upper half; the lower is the CRC's initial value.
            sync_word: (key >> 32) as u32,
            key,
            algorithm,
        }
    }

    /// The first word of every header.
    pub const fn sync_word(self) -> u32 {
        self.sync_word
    }

    /// What the checksums are.
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// The seed of an xxHash-64; for callers that hash a payload piece by piece.
    pub const fn key(self) -> u64 {
        self.key
    }

    /// Where a CRC-32C begins.
    pub const fn initial_crc(self) -> u32 {
        self.key as u32
    }

    /// The checksum that an xxHash-64 makes: its low half.
    pub const fn shorten(hash: u64) -> u32 {
        hash as u32
    }

    /// The checksum of bytes that lie in one piece. The padding of a payload is not covered.
    pub fn checksum<C: Checksum>(self, bytes: &[u8]) -> u32 {
        match self.algorithm {
            Algorithm::Xxh64 => Self::shorten(C::xxh64(self.key, bytes)),
            Algorithm::Crc32c => C::crc32c(self.initial_crc(), bytes),
        }
    }
}
