// SPDX-License-Identifier: GPL-2.0

//! Keeps rails from having their streams open.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Mutex;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;

use crate::base::clock;
use crate::base::event::Event;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;

struct State {
    /// Reasons to be shut that may pass.
    reasons: u32,
    /// Whether it never opens again.
    for_good: bool,
    /// How many have passed and not left.
    inside: u32,
}

impl State {
    fn is_shut(&self) -> bool {
        self.for_good || self.reasons > 0
    }
}

/// Somebody has not closed a stream in time: it is wedged, and nothing here can help it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StillOpen {
    /// How many streams are open.
    pub streams: u32,
}

/// The gate that all rails pass before they open their streams.
///
/// Whoever needs the controllers to be idle shuts it, which waits until all streams are closed, and opens it
/// again afterwards. It waits for a limited time: a stream whose close hangs must not hang the host, too.
///
/// # Locking
///
/// `state` is taken alone or with `turn` held, and not held while anybody is inside. `turn` is held while waiting.
#[pin_data]
pub struct Gate {
    patience: Duration,
    #[pin]
    state: Mutex<State>,
    /// Raised when nobody is inside any more.
    #[pin]
    left: Event,
    /// An event has room for one who waits; the others wait for him.
    #[pin]
    turn: Mutex<()>,
}

/// The right to have a stream open. Dropping it leaves.
pub(crate) struct Passage<'a>(&'a Gate);

impl Gate {
    /// How long a rail may take to leave, in milliseconds: its goodbye and the close of its stream take about one
    /// second, and on a busy machine several times as long.
    pub const PATIENCE_MS: Msecs = 10_000;

    /// An open gate. [`Gate::shut`] waits for `patience` milliseconds at most.
    pub fn new(patience: Msecs) -> impl PinInit<Self> {
        pin_init!(Self {
            patience: Duration::from_millis(patience.into()),
            state <- new_mutex!(State {
                reasons: 0,
                for_good: false,
                inside: 0,
            }),
            left <- Event::new(),
            turn <- new_mutex!(()),
        })
    }

    /// Shuts the gate, for one more reason, and waits until all streams are closed; that takes about a second.
    ///
    /// Fails when some of them are not closed in time. The gate is shut all the same: [`Gate::open`] must follow in
    /// either case. Sleeps, whatever signals are pending.
    pub fn shut(&self) -> Result<(), StillOpen> {
        self.state.lock().reasons += 1;
        self.await_empty()
    }

    /// Shuts the gate, never to open again, and waits as [`Gate::shut`] does.
    pub fn shut_for_good(&self) -> Result<(), StillOpen> {
        self.state.lock().for_good = true;
        self.await_empty()
    }

    /// The gate must be shut and stay so, so that nobody enters meanwhile.
    fn await_empty(&self) -> Result<(), StillOpen> {
        let deadline = clock::now().after(self.patience);
        let _turn = self.turn.lock();
        loop {
            // The event stays raised if the last one leaves between this look and the wait.
            let streams = self.state.lock().inside;
            if streams == 0 {
                return Ok(());
            }
            if clock::now() >= deadline {
                return Err(StillOpen { streams });
            }
            self.await_departure(deadline);
        }
    }

    fn await_departure(&self, deadline: Instant) {
        // At least one tick, else a deadline that is near would be waited for by spinning.
        let timeout = clock::jiffies_until(deadline).max(msecs_to_jiffies(1));
        let _ = self.left.wait_uninterruptible(timeout);
    }

    /// Takes one reason of [`Gate::shut`] away, if there is any.
    pub fn open(&self) {
        let mut state = self.state.lock();
        state.reasons = state.reasons.saturating_sub(1);
    }

    /// Whether nobody may pass, and who has passed should leave.
    pub(crate) fn is_shut(&self) -> bool {
        self.state.lock().is_shut()
    }

    /// Passes, if the gate is open.
    pub(crate) fn pass(&self) -> Option<Passage<'_>> {
        let mut state = self.state.lock();
        if state.is_shut() {
            return None;
        }
        state.inside += 1;
        Some(Passage(self))
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.inside -= 1;
        let is_empty = state.inside == 0;
        drop(state);
        if is_empty {
            self.0.left.raise();
        }
    }
}
