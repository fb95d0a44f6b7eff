// SPDX-License-Identifier: GPL-2.0

//! The events of several waiting threads, of which one is raised in turn from any context.

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::sync::rcu;
use kernel::sync::Arc;

use super::event::Event;

/// How many events a list holds: as many as there are rails.
pub const CAPACITY: usize = 16;

/// A set of events that may be raised where no lock may be taken, such as in a network device's
/// transmit function.
///
/// # Locking
///
/// [`WakeList::raise_next`] may be called from any context. Adding and removing sleep. Entries are read
/// under RCU.
///
/// # Invariants
///
/// Each slot is NULL or came from `Arc::into_raw`, and then the list owns that reference.
pub struct WakeList {
    slots: [Atomic<*mut Event>; CAPACITY],
    turn: Atomic<u32>,
}

impl WakeList {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self {
            slots: [const { Atomic::new(core::ptr::null_mut()) }; CAPACITY],
            turn: Atomic::new(0),
        }
    }

    /// Adds `event`. Fails with `ENOSPC` when there are [`CAPACITY`] events already.
    pub fn add(&self, event: Arc<Event>) -> Result {
        let raw = Arc::into_raw(event).cast_mut();
        for slot in &self.slots {
            if slot.cmpxchg(core::ptr::null_mut(), raw, Full).is_ok() {
                return Ok(());
            }
        }
        // SAFETY: `raw` came from `into_raw` above, and no slot took it.
        drop(unsafe { Arc::from_raw(raw) });
        Err(ENOSPC)
    }

    /// Takes `event` out, and says whether it was in. Afterwards the list does not touch it any more.
    pub fn remove(&self, event: &Arc<Event>) -> bool {
        let raw = Arc::as_ptr(event).cast_mut();
        for slot in &self.slots {
            if slot.cmpxchg(raw, core::ptr::null_mut(), Full).is_ok() {
                // SAFETY: The caller is a thread that may sleep.
                unsafe { bindings::synchronize_rcu() };
                // SAFETY: The slot owned a reference, and no reader can see it since the grace period.
                drop(unsafe { Arc::from_raw(raw) });
                return true;
            }
        }
        false
    }

    /// Raises one event of the list, each in its turn.
    pub fn raise_next(&self) {
        let _rcu = rcu::read_lock();
        let start = self.turn.fetch_add(1, Relaxed) as usize;
        for i in 0..CAPACITY {
            // The address dependency orders this load against what `add` published.
            let event = self.slots[start.wrapping_add(i) % CAPACITY].load(Relaxed);
            // SAFETY: By the type's invariants a pointer that is not NULL is valid; `remove` waits for
            // this RCU section before it gives the reference up.
            if let Some(event) = unsafe { event.as_ref() } {
                event.raise();
                return;
            }
        }
    }
}

impl Default for WakeList {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let raw = *slot.get_mut();
            if !raw.is_null() {
                // SAFETY: By the type's invariants the slot owns a reference.
                drop(unsafe { Arc::from_raw(raw) });
            }
        }
    }
}
