// SPDX-License-Identifier: GPL-2.0

//! The thread that moves everything: doorbells are plain memory, so it has to look.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::channel::Progress;
use crate::fabric::Fabric;

/// How long to look again at once after something has moved.
const SPIN: Duration = Duration::from_micros(20);

/// How long to sleep after so much idle time: the longer nothing moves, the lazier.
const NAPS: [(Duration, Duration); 3] = [
    (Duration::from_secs(1), Duration::from_millis(1)),
    (Duration::from_millis(20), Duration::from_micros(200)),
    (SPIN, Duration::from_micros(50)),
];

/// Moves everything, for ever.
pub fn run(fabric: &Arc<Mutex<Fabric>>) -> ! {
    let mut moved = Instant::now();
    let mut guard = fabric.lock();
    loop {
        let now = Instant::now();
        let progress = guard.step(now);
        if progress == Progress::Moved {
            moved = now;
        }
        match nap(progress, now - moved) {
            // Hands the lock over to whoever waits for it, such as a trapped register access.
            None => MutexGuard::bump(&mut guard),
            Some(nap) => MutexGuard::unlocked(&mut guard, || std::thread::sleep(nap)),
        }
    }
}

/// How long to sleep when nothing has moved for `idle`.
fn nap(progress: Progress, idle: Duration) -> Option<Duration> {
    let (_, shortest) = NAPS[NAPS.len() - 1];
    let nap = NAPS
        .iter()
        .find(|(after, _)| idle >= *after)
        .map(|(_, nap)| *nap);
    match progress {
        Progress::Waiting => nap.map(|_| shortest),
        Progress::Idle | Progress::Moved => nap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazier_with_time() {
        let idle = |micros| nap(Progress::Idle, Duration::from_micros(micros));
        assert_eq!(idle(0), None);
        assert_eq!(idle(30), Some(Duration::from_micros(50)));
        assert_eq!(idle(30_000), Some(Duration::from_micros(200)));
        assert_eq!(idle(3_000_000), Some(Duration::from_millis(1)));
    }

    #[test]
    fn not_lazy_while_something_is_due() {
        let waiting = nap(Progress::Waiting, Duration::from_secs(3));
        assert_eq!(waiting, Some(Duration::from_micros(50)));
    }
}
