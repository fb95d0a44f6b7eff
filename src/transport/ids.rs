// SPDX-License-Identifier: GPL-2.0

//! Numbers of the transport, each in a type of its own so that they cannot mix.

/// A packet sequence number: 24 bits, wrapping (IBTA 9.2.4).
///
/// It has no `Ord`: numbers of a ring compare only by their distance from a known base.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Psn(u32);

impl Psn {
    /// Number of bits of a PSN, all set.
    pub const MASK: u32 = 0x00ff_ffff;

    /// Shorter distances count as "ahead", others as "behind".
    pub(crate) const HALF: u32 = 0x0080_0000;

    /// Makes a PSN of the low 24 bits of `value`.
    pub const fn new(value: u32) -> Self {
        Self(value & Self::MASK)
    }

    /// The number, in 0..2^24.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The PSN after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.add(1)
    }

    /// The PSN `count` after this one.
    #[must_use]
    pub const fn add(self, count: u32) -> Self {
        Self::new(self.0.wrapping_add(count))
    }

    /// The PSN before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        self.add(Self::MASK)
    }

    /// How many steps lead from `base` to this PSN, in 0..2^24.
    pub const fn distance_from(self, base: Self) -> u32 {
        self.0.wrapping_sub(base.0) & Self::MASK
    }

    /// Whether this PSN lies before `base`, in the half of the circle behind it.
    pub const fn is_before(self, base: Self) -> bool {
        self.distance_from(base) >= Self::HALF
    }
}

/// A queue pair number: 24 bits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Qpn(u32);

impl Qpn {
    /// Number of bits of a QPN, all set.
    pub const MASK: u32 = 0x00ff_ffff;

    /// Stands for all queue pairs of a multicast group.
    pub const MULTICAST: Self = Self(Self::MASK);

    /// Makes a QPN of the low 24 bits of `value`.
    pub const fn new(value: u32) -> Self {
        Self(value & Self::MASK)
    }

    /// The number, in 0..2^24.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Key of a queue pair for datagrams (IBTA 10.2.5): who does not have it is not received.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Qkey(pub u32);

/// Key of a memory region for access by the peer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rkey(pub u32);

/// One rail to a peer, in 0..[`RailId::COUNT`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RailId(u8);

impl RailId {
    /// How many rails may lead to one peer.
    pub const COUNT: usize = 16;

    /// The rail with the highest number.
    pub const LAST: Self = Self(Self::COUNT as u8 - 1);

    /// The rail with this number, or nothing if it is out of range.
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number, below [`RailId::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where numbers that wrap begin: shortly before they do, so that every run does what else only happens after days.
pub(crate) const BEFORE_WRAP: u32 = u32::MAX - 15;

/// Sequence number of a frame on one rail: 32 bits, wrapping, never reset while the rail exists.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RailSeq(pub u32);

impl RailSeq {
    /// Number of a rail's first frame ever.
    pub const FIRST: Self = Self(BEFORE_WRAP);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.add(1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub const fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How many steps lead from `base` to this number.
    pub const fn distance_from(self, base: Self) -> u32 {
        self.0.wrapping_sub(base.0)
    }

    /// Whether this number lies before `base`, in the half of the circle behind it.
    pub const fn is_before(self, base: Self) -> bool {
        self.distance_from(base) >= 1 << 31
    }
}

/// Receive sequence number: how many receives the earlier messages of a queue pair used up.
/// 32 bits, wrapping.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rsn(pub u32);

impl Rsn {
    /// Number of a connection's first receive.
    pub const FIRST: Self = Self(BEFORE_WRAP);

    /// The number `count` after this one.
    #[must_use]
    pub const fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How many steps lead from `base` to this number.
    pub const fn distance_from(self, base: Self) -> u32 {
        self.0.wrapping_sub(base.0)
    }
}

/// Running number of a responder's NAKs, modulo 2^32.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct NakSerial(pub u32);

impl NakSerial {
    /// There has been no NAK yet.
    pub const NONE: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether a NAK with this number was raised after the one with number `last`: up to half the circle ahead.
    pub const fn is_after(self, last: Self) -> bool {
        let ahead = self.0.wrapping_sub(last.0);
        ahead != 0 && ahead < 1 << 31
    }
}

/// Place of a posted send request in the requester's message storage. The caller keeps the
/// request's local buffers under this number until its completion has been polled.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct MessageSlot(pub u16);

/// The caller's name for a receive request it handed out through `ReceiveQueue::take`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ReceiveSlot(pub u16);

/// One life of a queue pair: changes at every reset, so that what began in an earlier life is
/// recognised when it ends in a later one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A point in time in nanoseconds of a monotonic clock of the caller's.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant(pub u64);

impl Instant {
    /// The time `delay` later; the end of time if that cannot be expressed.
    #[must_use]
    pub const fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay.0))
    }

    /// How long it is since `earlier`; zero if `earlier` is in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Duration(pub u64);

impl Duration {
    /// A span of `count` milliseconds.
    pub const fn from_millis(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    /// A span of `count` microseconds.
    pub const fn from_micros(count: u64) -> Self {
        Self(count.saturating_mul(1_000))
    }

    /// Whole microseconds of it.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psn_distance_wraps() {
        let base = Psn::new(Psn::MASK - 1);
        assert_eq!(base.add(3).get(), 1);
        assert_eq!(base.add(3).distance_from(base), 3);
        assert!(base.is_before(base.add(3)));
        assert!(!base.add(3).is_before(base));
        assert!(!base.is_before(base));
    }

    #[test]
    fn rail_seq_distance_wraps() {
        let base = RailSeq(u32::MAX);
        assert_eq!(base.next(), RailSeq(0));
        assert!(base.is_before(base.next()));
        assert!(!base.next().is_before(base));
    }

    #[test]
    fn naks_of_half_the_circle_are_newer() {
        let last = NakSerial(u32::MAX);
        assert!(last.next().is_after(last));
        assert!(!last.is_after(last));
        assert!(!last.is_after(last.next()));
        assert!(NakSerial(u32::MAX / 2 - 1).is_after(last));
        assert!(!NakSerial(u32::MAX / 2).is_after(last));
    }

    #[test]
    fn rail_id_is_bounded() {
        assert!(RailId::new(15).is_some());
        assert!(RailId::new(16).is_none());
    }
}
