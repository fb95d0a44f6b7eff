// SPDX-License-Identifier: GPL-2.0

//! A count of those who use something, for whoever has to wait until nobody does.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::Completion;

/// Counts users until it is closed.
///
/// # Invariants
///
/// `count` is the number of users, plus one until [`Users::close`].
#[pin_data]
pub(crate) struct Users {
    count: Atomic<i32>,
    #[pin]
    none: Completion,
}

impl Users {
    /// Nobody yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: One for not being closed.
            count: Atomic::new(1),
            none <- Completion::new(),
        })
    }

    /// One more. Must not be called after [`Users::close`]; the caller's locking has to see to that.
    pub(crate) fn enter(&self) {
        self.count.fetch_add(1, Full);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        if self.count.fetch_sub(1, Full) == 1 {
            self.none.complete_all();
        }
    }

    /// Waits until nobody is left. To be called once; sleeps.
    pub(crate) fn close(&self) {
        self.leave();
        self.none.wait_for_completion();
    }
}
