// SPDX-License-Identifier: GPL-2.0

//! The thread that moves everything: most doorbells are plain memory, so it has to look; others are queued, with a kick if
//! it asks for one.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::attachment::Doorbells;
use crate::attachment::Kick;
use crate::attachment::Readiness;
use crate::channel::Progress;
use crate::fabric::Fabric;

/// How often and how soon to look again.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    /// How long to look again at once when nothing has moved.
    spin: Duration,
    /// How long to sleep after so much idle time, the longest time first. The last is for any time.
    naps: &'static [(Duration, Duration)],
    /// How long to sleep when something is due soon.
    short_nap: Duration,
    /// How long to sleep at most when a receiver is to make room, which it is not asked to tell at once.
    held_nap: Duration,
    /// By how much the kernel may prolong a nap; by its default if nothing is given.
    slack: Option<NonZeroU64>,
}

/// For guests with doorbells in memory: the longer nothing moves, the lazier.
const LOOKING: Pace = Pace {
    naps: &[
        (Duration::from_secs(1), Duration::from_millis(1)),
        (Duration::from_millis(20), Duration::from_micros(200)),
        (Duration::ZERO, Duration::from_micros(50)),
    ],
    spin: Duration::from_micros(20),
    short_nap: Duration::from_micros(50),
    held_nap: Duration::MAX,
    slack: None,
};

/// A kick ends a nap; this limit is for what comes without, such as a guest just attached.
const KICKED_NAPS: &[(Duration, Duration)] = &[(Duration::ZERO, Duration::from_millis(2))];

/// In that time a guest should have come to the kick that it was asked for. If its ring is small, or it does other things, it is
/// looked at all the same.
const HELD_NAP: Duration = Duration::from_micros(300);

/// A receiver that makes no room for so long does not read, and need not be looked at that often.
const READERS_PAUSE: Duration = Duration::from_millis(20);

/// For guests that queue: they run at the speed of the machine, so that a nap costs more than what it saves, and each kick
/// costs them a system call.
const fn kicked(spin: Duration) -> Pace {
    Pace {
        spin,
        naps: KICKED_NAPS,
        short_nap: Duration::from_micros(10),
        held_nap: HELD_NAP,
        slack: NonZeroU64::new(1),
    }
}

/// For guests of both kinds.
const fn mixed(spin: Duration) -> Pace {
    Pace {
        naps: LOOKING.naps,
        ..kicked(spin)
    }
}

/// Moves everything, for ever. For `spin` after something has moved, guests that kick are looked at all the same.
pub fn run(fabric: &Arc<Mutex<Fabric>>, spin: Duration) -> ! {
    let mut moved = Instant::now();
    let mut pace = LOOKING;
    let mut kicks = Vec::new();
    let mut guard = fabric.lock();
    loop {
        let now = Instant::now();
        let progress = guard.step(now);
        if progress == Progress::Moved {
            moved = now;
        }
        let Some(nap) = pace.nap(progress, now - moved) else {
            // Hands the lock over to whoever waits for it, such as a trapped register access.
            MutexGuard::bump(&mut guard);
            continue;
        };
        pace = keep_pace(&pace, Pace::for_guests(guard.doorbells(), spin));
        kicks.clear();
        if now - moved >= READERS_PAUSE {
            guard.forget_holds();
        }
        if guard.await_kicks(&mut kicks) == Readiness::Quiet {
            MutexGuard::unlocked(&mut guard, || sleep(&kicks, nap));
        }
    }
}

/// Changes the pace.
fn keep_pace(old: &Pace, new: Pace) -> Pace {
    if new.slack != old.slack {
        if let Err(error) = rustix::thread::set_current_timer_slack(new.slack) {
            log::warn!("naps are longer than they should be: {error}");
        }
    }
    new
}

/// Sleeps until a kick, or for so long.
fn sleep(kicks: &[Kick], nap: Duration) {
    let mut files: Vec<_> = kicks
        .iter()
        .map(|kick| PollFd::new(kick, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: nap.as_secs() as _,
        tv_nsec: nap.subsec_nanos().into(),
    };
    if rustix::event::poll(&mut files, Some(&timeout)).is_err() {
        // Interrupted by a signal.
        return;
    }
    for (file, kick) in files.iter().zip(kicks) {
        if file.revents().contains(PollFlags::IN) {
            // How many kicks there were does not matter.
            let _ = rustix::io::read(kick, &mut [0; size_of::<u64>()]);
        }
    }
}

impl Pace {
    /// The pace for guests with such doorbells.
    fn for_guests(doorbells: impl Iterator<Item = Doorbells>, spin: Duration) -> Self {
        let (mut look, mut kick) = (false, false);
        for doorbells in doorbells {
            match doorbells {
                Doorbells::Memory => look = true,
                Doorbells::Queue => kick = true,
            }
        }
        match (look, kick) {
            (_, false) => LOOKING,
            (false, true) => kicked(spin),
            (true, true) => mixed(spin),
        }
    }

    /// How long to sleep when nothing has moved for `idle`.
    fn nap(&self, progress: Progress, idle: Duration) -> Option<Duration> {
        if idle < self.spin {
            return None;
        }
        let nap = self.naps.iter().find(|(after, _)| idle >= *after);
        let nap = nap.map(|(_, nap)| *nap);
        match progress {
            Progress::Waiting => Some(self.short_nap),
            Progress::Held if idle < READERS_PAUSE => nap.map(|nap| nap.min(self.held_nap)),
            Progress::Idle | Progress::Moved | Progress::Held => nap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);
    const SPIN: Duration = Duration::from_millis(2);

    #[test]
    fn lazier_with_time() {
        let idle = |micros| LOOKING.nap(Progress::Idle, micros * MICROSECOND);
        assert_eq!(idle(0), None);
        assert_eq!(idle(30), Some(Duration::from_micros(50)));
        assert_eq!(idle(30_000), Some(Duration::from_micros(200)));
        assert_eq!(idle(3_000_000), Some(Duration::from_millis(1)));
    }

    #[test]
    fn not_lazy_while_something_is_due() {
        let waiting = |pace: &Pace| pace.nap(Progress::Waiting, Duration::from_secs(3));
        assert_eq!(waiting(&LOOKING), Some(Duration::from_micros(50)));
        assert_eq!(waiting(&kicked(SPIN)), Some(Duration::from_micros(10)));
    }

    #[test]
    fn a_receiver_that_makes_room_is_not_waited_for_for_long() {
        let held = |pace: &Pace, idle| pace.nap(Progress::Held, idle);
        assert_eq!(held(&kicked(SPIN), SPIN), Some(HELD_NAP));
        assert_eq!(
            held(&kicked(SPIN), READERS_PAUSE),
            Some(SPIN),
            "it reads no more"
        );
        let looking = |progress| LOOKING.nap(progress, Duration::from_millis(1));
        assert_eq!(looking(Progress::Held), looking(Progress::Idle));
    }

    #[test]
    fn the_pace_suits_all_guests() {
        let pace = |doorbells: &[Doorbells]| Pace::for_guests(doorbells.iter().copied(), SPIN);
        let (memory, queue) = (Doorbells::Memory, Doorbells::Queue);
        assert_eq!(pace(&[]), LOOKING);
        assert_eq!(pace(&[memory, memory]), LOOKING);
        assert_eq!(pace(&[queue, queue]), kicked(SPIN));
        let mixed = pace(&[memory, queue]);
        assert_eq!(mixed.nap(Progress::Idle, SPIN / 2), None);
        let nap = mixed.nap(Progress::Idle, SPIN);
        assert_eq!(nap, Some(Duration::from_micros(50)), "it has to look");
    }

    #[test]
    fn a_kick_ends_a_nap() {
        use std::io::Write;
        let file = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let kick = Kick::new(file.into());
        (&*kick).write_all(&1u64.to_ne_bytes()).unwrap();
        let start = Instant::now();
        sleep(std::slice::from_ref(&kick), Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(60));
        let again = rustix::io::read(&kick, &mut [0; 8]);
        assert_eq!(again, Err(rustix::io::Errno::AGAIN), "it has been read");
    }
}
