// SPDX-License-Identifier: GPL-2.0

//! What one thread waits for that needs several frames: it is woken when the last of them has come, and not for each one.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::time::Delta;
use kernel::time::Jiffies;

use crate::base::event::Event;
use crate::base::event::Wake;

/// Counts frames down to the one that wakes the waiting thread.
///
/// # Locking
///
/// [`FrameCountdown::count`] and [`FrameCountdown::interrupt`] may be called from any context, the rest by the one thread
/// that waits.
///
/// No frame is missed if the waiting thread calls [`FrameCountdown::expect`] before it looks what has come already: `missing`
/// is changed with full ordering on both sides, so a frame that it does not see is counted afterwards.
#[pin_data]
pub struct FrameCountdown {
    /// Frames to come before the thread is woken. Below one: it has been.
    missing: Atomic<i32>,
    #[pin]
    event: Event,
}

impl FrameCountdown {
    /// A countdown that expects nothing.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            missing: Atomic::new(0),
            event <- Event::new(),
        })
    }

    /// From now on `frames` more frames are expected, whatever was before.
    pub fn expect(&self, frames: i32) {
        self.missing.xchg(frames, Full);
    }

    /// A frame has come.
    pub fn count(&self) {
        if self.missing.fetch_sub(1, Full) == 1 {
            self.event.raise();
        }
    }

    /// Something has come that is no frame: whoever waits is to look.
    pub fn interrupt(&self) {
        self.event.raise();
    }

    /// Sleeps until what is expected has come, or something else has, but not longer than `timeout`. May end too early, when
    /// what was expected before comes late.
    pub fn wait(&self, timeout: Jiffies) -> Wake {
        self.event.wait(timeout)
    }

    /// The same for a time much shorter than a tick of the scheduler's clock.
    pub fn wait_briefly(&self, timeout: Delta) -> Wake {
        self.event.wait_briefly(timeout)
    }
}
