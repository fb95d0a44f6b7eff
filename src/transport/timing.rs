// SPDX-License-Identifier: GPL-2.0

//! Encoded time values of queue pair attributes.

use super::ids::Duration;

/// RNR NAK timer: an index of 0..32 into a table of times (IBTA 9.7.5.2.8).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RnrTimer(u8);

/// Times of the RNR NAK timer in units of 10 us.
const RNR_TENS_OF_MICROSECONDS: [u32; 32] = [
    65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536,
    2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
];

impl RnrTimer {
    /// The timer with this encoding; the bits above the fifth are ignored.
    pub const fn new(encoding: u8) -> Self {
        Self(encoding & 0x1f)
    }

    /// The encoding, below 32.
    pub const fn encoding(self) -> u8 {
        self.0
    }

    /// How long the requester has to wait.
    pub const fn duration(self) -> Duration {
        let tens = RNR_TENS_OF_MICROSECONDS[(self.0 & 0x1f) as usize];
        Duration::from_micros(tens as u64 * 10)
    }
}

/// Local ACK timeout: an exponent of 0..32, 0 meaning "wait for ever" (IBTA 9.7.6.1.3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct AckTimeout(u8);

impl AckTimeout {
    /// The timeout with this encoding; the bits above the fifth are ignored.
    pub const fn new(encoding: u8) -> Self {
        Self(encoding & 0x1f)
    }

    /// How long to wait for an answer: four times 4.096 us * 2^encoding, the upper bound IBTA
    /// allows; nothing if the wait has no end.
    pub const fn duration(self) -> Option<Duration> {
        match self.0 {
            0 => None,
            exponent => Some(Duration((4 * 4096) << (exponent & 0x1f))),
        }
    }
}

/// How often a request is repeated before it fails.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetryLimit {
    /// So many times.
    Times(u8),
    /// Again and again.
    Unlimited,
}

impl RetryLimit {
    /// The limit of an `rnr_retry` attribute: 0 to 6 times, 7 for ever (IBTA 11.2.5.2).
    pub const fn from_rnr_retry(attribute: u8) -> Self {
        match attribute {
            0..=6 => Self::Times(attribute),
            _ => Self::Unlimited,
        }
    }

    /// The limit of a `retry_cnt` attribute: 0 to 7 times.
    pub const fn from_retry_count(attribute: u8) -> Self {
        Self::Times(if attribute > 7 { 7 } else { attribute })
    }

    /// Uses up one repetition; nothing if there was none left.
    #[must_use]
    pub const fn spend(self) -> Option<Self> {
        match self {
            Self::Times(0) => None,
            Self::Times(left) => Some(Self::Times(left - 1)),
            Self::Unlimited => Some(Self::Unlimited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rnr_timer_table() {
        assert_eq!(RnrTimer::new(0).duration(), Duration(655_360_000));
        assert_eq!(RnrTimer::new(1).duration(), Duration(10_000));
        assert_eq!(RnrTimer::new(12).duration(), Duration(640_000));
        assert_eq!(RnrTimer::new(31).duration(), Duration(491_520_000));
    }

    #[test]
    fn ack_timeout_is_four_times_nominal() {
        assert_eq!(AckTimeout::new(0).duration(), None);
        assert_eq!(
            AckTimeout::new(14).duration(),
            Some(Duration(4 * 67_108_864))
        );
        assert!(AckTimeout::new(31).duration().is_some());
    }

    #[test]
    fn retry_limits() {
        assert_eq!(
            RetryLimit::from_rnr_retry(7).spend(),
            Some(RetryLimit::Unlimited)
        );
        assert_eq!(RetryLimit::from_rnr_retry(0).spend(), None);
        let once = RetryLimit::from_retry_count(1).spend();
        assert_eq!(once.and_then(RetryLimit::spend), None);
    }
}
