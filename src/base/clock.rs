// SPDX-License-Identifier: GPL-2.0

//! The clock that the transport is told the time of.

use kernel::bindings;
use kernel::time::msecs_to_jiffies;
use kernel::time::Delta;
use kernel::time::Jiffies;
use kernel::time::Msecs;

use crate::transport::ids::Instant;

/// Nanoseconds of a millisecond.
const NSEC_PER_MSEC: u64 = 1_000_000;

/// The time since boot, without time spent in suspend (`CLOCK_MONOTONIC`): as timers stand still meanwhile, no
/// retry is used up and no peer is given up while this host sleeps. Its peers' clocks go on.
pub fn now() -> Instant {
    // SAFETY: The clock may be read from any context.
    Instant(unsafe { bindings::ktime_get() } as u64)
}

/// The time from now to `deadline`; zero if that has passed.
pub fn delta_until(deadline: Instant) -> Delta {
    let left = deadline.since(now()).0;
    Delta::from_nanos(i64::try_from(left).unwrap_or(i64::MAX))
}

/// The time from now to `deadline` in jiffies: rounded up, so that a sleeper does not come too early;
/// zero if the deadline has passed.
pub fn jiffies_until(deadline: Instant) -> Jiffies {
    let left = deadline.since(now()).0.div_ceil(NSEC_PER_MSEC);
    msecs_to_jiffies(Msecs::try_from(left).unwrap_or(Msecs::MAX))
}
