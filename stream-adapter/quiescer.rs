// SPDX-License-Identifier: GPL-2.0

//! Quiesces rails: keeps them from having their streams open.

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
    /// Reasons to give no permits that may pass.
    reasons: u32,
    /// Whether no permit will ever be given again.
    for_good: bool,
    /// Permits that have not been given back.
    permits: u32,
}

impl State {
    fn is_quiesced(&self) -> bool {
        self.for_good || self.reasons > 0
    }
}

/// Somebody has not closed a stream in time: it is wedged, and nothing here can help it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StillOpen {
    /// How many streams are open.
    pub streams: u32,
}

/// Asked for a permit by all rails before they open their streams.
///
/// Whoever needs the controllers to be idle quiesces it, which waits until all streams are closed, and resumes it
/// afterwards. It waits for a limited time: a stream whose close hangs must not hang the host, too.
///
/// # Locking
///
/// `state` is taken alone or with `turn` held, and for moments. `turn` is held while waiting.
#[pin_data]
pub struct Quiescer {
    patience: Duration,
    #[pin]
    state: Mutex<State>,
    /// Raised when the last permit is given back.
    #[pin]
    left: Event,
    /// `Event` has a single waiter; `turn` serialises.
    #[pin]
    turn: Mutex<()>,
}

/// The right to have a stream open, given back when this is dropped.
pub(crate) struct OpenPermit<'a>(&'a Quiescer);

impl Quiescer {
    /// How long a rail may take to leave, in milliseconds: its goodbye and the close of its stream take about one
    /// second, and on a busy machine several times as long.
    pub const PATIENCE_MS: Msecs = 10_000;

    /// Not quiesced. [`Quiescer::quiesce`] waits for `patience` milliseconds at most.
    pub fn new(patience: Msecs) -> impl PinInit<Self> {
        pin_init!(Self {
            patience: Duration::from_millis(patience.into()),
            state <- new_mutex!(State {
                reasons: 0,
                for_good: false,
                permits: 0,
            }),
            left <- Event::new(),
            turn <- new_mutex!(()),
        })
    }

    /// Gives no more permits, for one more reason, and waits until all streams are closed; that takes about a second.
    ///
    /// Fails when some of them are not closed in time. No permits are given all the same: [`Quiescer::resume`] must follow in
    /// either case. Sleeps, whatever signals are pending.
    pub fn quiesce(&self) -> Result<(), StillOpen> {
        self.state.lock().reasons += 1;
        self.await_idle()
    }

    /// Gives no permits any more, for good, and waits as [`Quiescer::quiesce`] does.
    pub fn quiesce_for_good(&self) -> Result<(), StillOpen> {
        self.state.lock().for_good = true;
        self.await_idle()
    }

    /// No permits must be given meanwhile.
    fn await_idle(&self) -> Result<(), StillOpen> {
        let deadline = clock::now().after(self.patience);
        let _turn = self.turn.lock();
        loop {
            // The event stays raised if the last one leaves between this look and the wait.
            let streams = self.state.lock().permits;
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

    /// Takes one reason of [`Quiescer::quiesce`] away, if there is any.
    pub fn resume(&self) {
        let mut state = self.state.lock();
        state.reasons = state.reasons.saturating_sub(1);
    }

    /// Whether there are no permits, and who has one should give it back.
    pub(crate) fn is_quiesced(&self) -> bool {
        self.state.lock().is_quiesced()
    }

    /// A permit, unless it is quiesced.
    pub(crate) fn permit(&self) -> Option<OpenPermit<'_>> {
        let mut state = self.state.lock();
        if state.is_quiesced() {
            return None;
        }
        state.permits += 1;
        Some(OpenPermit(self))
    }
}

impl Drop for OpenPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.permits -= 1;
        let is_empty = state.permits == 0;
        drop(state);
        if is_empty {
            self.0.left.raise();
        }
    }
}
