// SPDX-License-Identifier: GPL-2.0

//! A wake-up call for one waiting thread, safe to raise from any context.

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::AtomicFlag;
use kernel::sync::atomic::Full;
use kernel::time::Delta;
use kernel::time::Jiffies;
use kernel::types::Opaque;

use super::bindings as shim;

/// A clock that tells times shorter than a tick apart ticks at least this often, in nanoseconds (`hrtimer_resolution`).
const FINE_RESOLUTION: u32 = 10_000;

/// Why [`Event::wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// The event was raised, now or since the last wait.
    Raised,
    /// The time is over.
    Timeout,
    /// A signal is pending, or the thread is being stopped.
    Interrupted,
}

/// A binary event: raising it twice before the waiter comes is the same as raising it once.
///
/// # Locking
///
/// [`Event::raise`] may be called from any context, also with bottom halves or interrupts disabled. Only
/// one thread may wait.
///
/// No wake-up is lost if the raiser publishes its work before it raises, and the waiter looks for work
/// after every wait: `pending` is exchanged with full ordering on both sides, so either the raiser
/// finds it clear and completes, or the waiter clears it afterwards and then sees the work.
#[pin_data]
pub struct Event {
    pending: AtomicFlag,
    #[pin]
    completion: Opaque<bindings::completion>,
}

// SAFETY: A `struct completion` may be moved between and used by any threads.
unsafe impl Send for Event {}

// SAFETY: `complete()` and the wait functions synchronise by the completion's own lock.
unsafe impl Sync for Event {}

impl Event {
    /// Creates an event that is not raised.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pending: AtomicFlag::new(false),
            completion <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` points to memory for a completion, which is pinned.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Wakes the waiter, or makes its next wait return at once.
    pub fn raise(&self) {
        if !self.pending.xchg(true, Full) {
            // SAFETY: `completion` was initialised by `new`.
            unsafe { bindings::complete(self.completion.get()) };
        }
    }

    /// Sleeps until the event is raised, but not longer than `timeout`.
    pub fn wait(&self, timeout: Jiffies) -> Wake {
        // SAFETY: `completion` was initialised by `new`, and the caller is a thread that may sleep.
        let left = unsafe {
            bindings::wait_for_completion_interruptible_timeout(self.completion.get(), timeout)
        };
        self.pending.xchg(false, Full);
        match left {
            1.. => Wake::Raised,
            0 => Wake::Timeout,
            _ => Wake::Interrupted,
        }
    }

    /// Whether [`Event::wait_briefly`] is worth calling: else it takes a tick of the scheduler's clock.
    pub fn waits_briefly() -> bool {
        // SAFETY: The function has no demands.
        let resolution = unsafe { shim::base_shim_hrtimer_resolution() };
        resolution <= FINE_RESOLUTION
    }

    /// Like [`Event::wait`], for a time much shorter than a tick. May end with [`Wake::Timeout`] before it is over, also for a signal or
    /// when the thread is being stopped, of which the next wait tells.
    pub fn wait_briefly(&self, timeout: Delta) -> Wake {
        let completion = self.completion.get();
        let mut entry = bindings::swait_queue::default();
        let entry = &raw mut entry;
        // SAFETY: The entry stays where it is until `finish_swait`; an empty list is what its `task_list` has to be.
        unsafe {
            (*entry).task_list.next = &raw mut (*entry).task_list;
            (*entry).task_list.prev = &raw mut (*entry).task_list;
        }
        // SAFETY: `completion` was initialised by `new`.
        let queue = unsafe { &raw mut (*completion).wait };
        // SAFETY: Queue and entry are as they have to be, and the caller is a thread that may sleep. It is in the queue, and in a state
        // in which it is woken, before it looks whether the event was raised.
        let interrupted = unsafe {
            bindings::prepare_to_swait_event(
                queue,
                entry,
                bindings::TASK_INTERRUPTIBLE as core::ffi::c_int,
            )
        };
        // SAFETY: As above.
        let mut is_raised = unsafe { bindings::try_wait_for_completion(completion) };
        if interrupted == 0 && !is_raised {
            let mut expires = timeout.as_nanos();
            // SAFETY: As above; `expires` is only read.
            is_raised = unsafe {
                bindings::schedule_hrtimeout_range(
                    &raw mut expires,
                    0,
                    bindings::hrtimer_mode_HRTIMER_MODE_REL,
                );
                bindings::try_wait_for_completion(completion)
            };
        }
        // SAFETY: The entry is in this queue, or in none any more.
        unsafe { bindings::finish_swait(queue, entry) };
        self.pending.xchg(false, Full);
        match (is_raised, interrupted) {
            (true, _) => Wake::Raised,
            (false, 0) => Wake::Timeout,
            (false, _) => Wake::Interrupted,
        }
    }

    /// Forgets that the event was raised.
    pub fn clear(&self) {
        let _ = self.wait_uninterruptible(0);
    }

    /// Like [`Event::wait`], but even a thread that is being stopped waits.
    pub fn wait_uninterruptible(&self, timeout: Jiffies) -> Wake {
        // SAFETY: As in `wait`.
        let left = unsafe { bindings::wait_for_completion_timeout(self.completion.get(), timeout) };
        self.pending.xchg(false, Full);
        match left {
            0 => Wake::Timeout,
            _ => Wake::Raised,
        }
    }
}
