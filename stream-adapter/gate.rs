// SPDX-License-Identifier: GPL-2.0

//! Keeps rails from having their streams open.

use kernel::new_condvar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::CondVar;
use kernel::sync::Mutex;

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

/// The gate that all rails pass before they open their streams.
///
/// # Locking
///
/// `state` is taken alone, and not held while anybody is inside.
#[pin_data]
pub struct Gate {
    #[pin]
    state: Mutex<State>,
    /// Nobody is inside any more.
    #[pin]
    left: CondVar,
}

/// The right to have a stream open. Dropping it leaves.
pub(super) struct Passage<'a>(&'a Gate);

impl Gate {
    /// An open gate.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                reasons: 0,
                for_good: false,
                inside: 0,
            }),
            left <- new_condvar!(),
        })
    }

    /// Shuts the gate, for one more reason, and waits until all streams are closed; that takes about a second.
    pub fn shut(&self) {
        let mut state = self.state.lock();
        state.reasons += 1;
        self.await_empty(&mut state);
    }

    /// Shuts the gate, never to open again, and waits as [`Gate::shut`] does.
    pub fn shut_for_good(&self) {
        let mut state = self.state.lock();
        state.for_good = true;
        self.await_empty(&mut state);
    }

    fn await_empty(&self, state: &mut Guard<'_, State, MutexBackend>) {
        while state.inside > 0 {
            self.left.wait(state);
        }
    }

    /// Takes one reason of [`Gate::shut`] away, if there is any. Whoever began to listen in between may come to
    /// hear of an end alone.
    pub fn open(&self) {
        let mut state = self.state.lock();
        state.reasons = state.reasons.saturating_sub(1);
    }

    /// Whether nobody may pass, and who has passed should leave.
    pub(super) fn is_shut(&self) -> bool {
        self.state.lock().is_shut()
    }

    /// Passes, if the gate is open.
    pub(super) fn pass(&self) -> Option<Passage<'_>> {
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
        if state.inside == 0 {
            self.0.left.notify_all();
        }
    }
}
