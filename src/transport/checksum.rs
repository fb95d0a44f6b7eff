// SPDX-License-Identifier: GPL-2.0

//! The checksum over headers and payloads, supplied by the caller.

/// CRC-32 (IEEE 802.3, reflected), as the kernel's `crc32_le()` computes it; RoCE's invariant CRC has the same
/// polynomial (IBTA 7.8.1).
pub trait Checksum {
    /// Feeds `data` to a CRC whose state is `state`, without any inversion at either end, and
    /// returns the new state. Feeding two pieces one after the other equals feeding both at once.
    fn crc32(state: u32, data: &[u8]) -> u32;
}

/// Start state of all checksums of one session, known only to its two ends.
///
/// It keeps frames of an earlier session, and headers forged inside a payload, from being taken
/// for frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seed(pub(crate) u32);

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
        let state = C::crc32(Self::HANDSHAKE.0, &low.to_le_bytes());
        Self(C::crc32(state, &high.to_le_bytes()))
    }

    /// The state a checksum starts from; for callers that feed a payload piece by piece.
    pub const fn state(self) -> u32 {
        self.0
    }

    /// The checksum of a payload that lies in one piece. Padding is not covered.
    pub fn payload_crc<C: Checksum>(self, payload: &[u8]) -> u32 {
        C::crc32(self.0, payload)
    }
}
