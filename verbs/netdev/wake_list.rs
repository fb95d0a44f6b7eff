// SPDX-License-Identifier: GPL-2.0

//! The events of several rails' threads, to be raised from any context.

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::Acquire;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::sync::atomic::Release;
use kernel::sync::rcu;
use kernel::sync::Arc;

use crate::base::event::Event;
use crate::transport::ids::RailId;
use crate::transport::rail_set::RailSet;

/// A set of rails, by what wakes each of them, which may be searched where no lock may be taken, such as in a
/// network device's transmit function.
///
/// # Locking
///
/// Entries are read under RCU, in any context. Adding and removing sleep; whoever does it excludes others who do.
///
/// # Invariants
///
/// Each slot is NULL or came from `Arc::into_raw`, and then the list owns that reference.
pub(crate) struct WakeList {
    slots: [Atomic<*mut Event>; RailId::COUNT],
    /// The rails to be chosen from, as bits. Each is in its slot when it appears here.
    rails: Atomic<u32>,
}

impl WakeList {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { Atomic::new(core::ptr::null_mut()) }; RailId::COUNT],
            rails: Atomic::new(0),
        }
    }

    /// The rails to be chosen from. Who takes one of them out waits for the RCU sections that have seen it.
    pub(crate) fn rails(&self) -> RailSet {
        RailSet::from_bits(self.rails.load(Acquire) as u16)
    }

    /// Adds `rail`, which `event` wakes. Fails with `EEXIST` when it is in already.
    pub(crate) fn add(&self, rail: RailId, event: Arc<Event>) -> Result {
        let slot = &self.slots[rail.index()];
        let raw = Arc::into_raw(event).cast_mut();
        if slot.cmpxchg(core::ptr::null_mut(), raw, Full).is_err() {
            // SAFETY: `raw` came from `into_raw` above, and the slot did not take it.
            drop(unsafe { Arc::from_raw(raw) });
            return Err(EEXIST);
        }
        self.offer(rail);
        Ok(())
    }

    /// Has `rail` be chosen from again, if it is in the list.
    pub(crate) fn offer(&self, rail: RailId) {
        if !self.slots[rail.index()].load(Relaxed).is_null() {
            let mut rails = self.rails();
            rails.insert(rail);
            self.rails.store(rails.bits().into(), Release);
        }
    }

    /// Has `rail` not be chosen from any more, although it can still be woken. Says whether it was; nobody who has seen it
    /// there is still at it then.
    pub(crate) fn withdraw(&self, rail: RailId) -> bool {
        let mut rails = self.rails();
        if !rails.contains(rail) {
            return false;
        }
        rails.remove(rail);
        self.rails.store(rails.bits().into(), Release);
        // SAFETY: The caller is a thread that may sleep.
        unsafe { bindings::synchronize_rcu() };
        true
    }

    /// Whether there is any rail, to be chosen from or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.load(Relaxed).is_null())
    }

    /// Takes `rail` out, and says whether it was in. Afterwards nobody sees it in the list any more, nor raises its event.
    pub(crate) fn remove(&self, rail: RailId) -> bool {
        let mut rails = self.rails();
        rails.remove(rail);
        self.rails.store(rails.bits().into(), Release);
        let raw = self.slots[rail.index()].xchg(core::ptr::null_mut(), Full);
        if raw.is_null() {
            return false;
        }
        // SAFETY: The caller is a thread that may sleep.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: The slot owned a reference, and no reader can see it since the grace period.
        drop(unsafe { Arc::from_raw(raw) });
        true
    }

    /// Wakes `rail`, if it is in.
    pub(crate) fn raise(&self, rail: RailId) {
        let _rcu = rcu::read_lock();
        // The address dependency orders this load against what `add` published.
        let event = self.slots[rail.index()].load(Relaxed);
        // SAFETY: By the type's invariants a pointer that is not NULL is valid; `remove` waits for this RCU
        // section before it gives the reference up.
        if let Some(event) = unsafe { event.as_ref() } {
            event.raise();
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
