// SPDX-License-Identifier: GPL-2.0

//! Keeps rails from having their streams open.

use kernel::new_condvar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::CondVar;
use kernel::sync::Mutex;

struct State {
    /// Reasons to be shut.
    reasons: u32,
    /// How many have passed and not left.
    inside: u32,
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
                inside: 0,
            }),
            left <- new_condvar!(),
        })
    }

    /// Shuts the gate, for one more reason, and waits until all streams are closed; that takes about a second.
    pub fn shut(&self) {
        let mut state = self.state.lock();
        state.reasons += 1;
        while state.inside > 0 {
            self.left.wait(&mut state);
        }
    }

    /// Takes one reason away, if there is any. Without reasons the gate is open.
    pub fn open(&self) {
        let mut state = self.state.lock();
        state.reasons = state.reasons.saturating_sub(1);
    }

    /// Whether nobody may pass, and who has passed should leave.
    pub(super) fn is_shut(&self) -> bool {
        self.state.lock().reasons > 0
    }

    /// Passes, if the gate is open.
    pub(super) fn pass(&self) -> Option<Passage<'_>> {
        let mut state = self.state.lock();
        if state.reasons > 0 {
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
