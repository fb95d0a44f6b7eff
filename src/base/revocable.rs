// SPDX-License-Identifier: GPL-2.0

//! Values that are used in passing, and that end only when nobody uses them any more.
//!
//! This is what a `percpu_ref` is for, with `percpu_ref_tryget_live()`, `percpu_ref_put()` and `percpu_ref_kill()`,
//! and what [`Revocable`](kernel::revocable::Revocable) does by RCU. There may be tens of thousands of these values,
//! so each has one counter instead of one for each processor, and they end as often as processes want, so nobody
//! waits for a grace period.

use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::sync::atomic::Acquire;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Completion;

/// Whether the value may be used.
const LIVE: i32 = 1;
const ENDING: i32 = 0;

/// Who uses a value.
///
/// # Invariants
///
/// `count` is the number of guards, holds and enders, plus one as long as `phase` is [`LIVE`]. It never rises from zero.
/// `enders` is not more than the number of enders.
#[pin_data]
struct Uses {
    count: Atomic<i32>,
    enders: Atomic<i32>,
    phase: Atomic<i32>,
    #[pin]
    idle: Completion,
}

impl Uses {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: One for being live.
            count: Atomic::new(1),
            enders: Atomic::new(0),
            phase: Atomic::new(LIVE),
            idle <- Completion::new(),
        })
    }

    /// One more, unless there are none.
    fn try_get(&self) -> bool {
        let mut count = self.count.load(Relaxed);
        while count != 0 {
            match self.count.cmpxchg(count, count + 1, Acquire) {
                // INVARIANT: There was one before.
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    fn put(&self) {
        if self.count.fetch_sub(1, Full) == 1 {
            // The last access to `self`: whoever waits may drop it.
            self.idle.complete_all();
        }
    }

    /// Whether the value was live until now.
    fn end(&self) -> bool {
        let was_live = self.phase.xchg(ENDING, Relaxed) == LIVE;
        if was_live {
            // INVARIANT: Being live does not count any more.
            self.put();
        }
        was_live
    }

    /// How many guards and holds there are beside enders, or more. If there are none but the caller's, whatever others have
    /// done while they had theirs is done.
    fn others(&self) -> i32 {
        // The end of its life, and that of an ender, is noted before it stops to count, and an ender counts before it is
        // noted: if something comes in between, there seems to be one more.
        self.count.load(Acquire) - self.phase.load(Relaxed) - self.enders.load(Relaxed)
    }
}

/// A value that is used in atomic context, and whose end may sleep.
///
/// Its owners hold references of the common kind. Users hold [`Guard`]s instead, which cost one counter, and
/// which never drop the value: [`CountedRevocable::revoke`] waits for them, and so does the last owner.
#[pin_data(PinnedDrop)]
pub(crate) struct CountedRevocable<T> {
    #[pin]
    uses: Uses,
    value: T,
}

impl<T> CountedRevocable<T> {
    /// A value that nobody uses yet.
    pub(crate) fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            uses <- Uses::new(),
            value,
        })
    }

    /// Begins to use the value, unless [`CountedRevocable::revoke`] has been called and the last user has left.
    pub(crate) fn try_access(&self) -> Option<Guard<T>> {
        // INVARIANT: It counts.
        self.uses.try_get().then(|| Guard(self.into()))
    }

    /// Begins to use the value. Cheaper than [`CountedRevocable::try_access`] where it is known to be live.
    ///
    /// # Safety
    ///
    /// [`CountedRevocable::revoke`] must not have been called, nor be called before this returns.
    pub(crate) unsafe fn access(&self) -> Guard<T> {
        // INVARIANT: There is one more. It cannot be the first after the last has been dropped, because the value
        // is live, which counts.
        self.uses.count.fetch_add(1, Relaxed);
        Guard(self.into())
    }

    /// Waits until nobody uses the value; from then on nobody can. Sleeps.
    pub(crate) fn revoke(&self) {
        self.uses.end();
        self.uses.idle.wait_for_completion();
    }
}

impl<T> Deref for CountedRevocable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[pinned_drop]
impl<T> PinnedDrop for CountedRevocable<T> {
    fn drop(self: Pin<&mut Self>) {
        // Else somebody has revoked it, and has waited.
        if self.uses.end() {
            self.uses.idle.wait_for_completion();
        }
    }
}

/// The use of a value, until this is dropped. That may be done in atomic context.
///
/// # Invariants
///
/// Counted by the value, which therefore exists.
pub(crate) struct Guard<T>(NonNull<CountedRevocable<T>>);

// SAFETY: It is a shared reference to the value, and never drops it.
unsafe impl<T: Sync> Send for Guard<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Guard<T> {}

impl<T> Guard<T> {
    fn uses(&self) -> NonNull<Uses> {
        // SAFETY: By the type's invariants.
        unsafe { (&self.0.as_ref().uses).into() }
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariants.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }.uses.put();
    }
}

/// A [`Guard`] of a value of some type: it keeps the value, and gives no access to it.
///
/// # Invariants
///
/// Counted by these uses, which are those of a value that therefore exists.
pub(crate) struct Hold(NonNull<Uses>);

// SAFETY: All that is done to the uses is atomic, but for the completion, which locks itself; and no value is dropped.
unsafe impl Send for Hold {}
// SAFETY: As above.
unsafe impl Sync for Hold {}

impl<T: Sync> From<Guard<T>> for Hold {
    fn from(guard: Guard<T>) -> Self {
        // INVARIANT: What counted the guard counts this from now on.
        Self(ManuallyDrop::new(guard).uses())
    }
}

impl Hold {
    /// Whether nobody else uses the value, but for who waits for that. If so, whatever others have done while they did is
    /// done. Nothing keeps others from beginning to.
    pub(crate) fn is_only(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }.others() == 1
    }

    /// Begins to wait until nobody else uses the value.
    pub(crate) fn await_others(self) -> Ender {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }.enders.fetch_add(1, Relaxed);
        Ender(self)
    }
}

/// A [`Hold`] of somebody who waits until the value is not used by others: those who do so too do not wait for each other.
pub(crate) struct Ender(Hold);

impl Ender {
    /// Whether nobody uses the value, but for those who wait for that. See [`Hold::is_only`].
    pub(crate) fn is_over(&self) -> bool {
        // SAFETY: By the invariants of `Hold`.
        unsafe { self.0 .0.as_ref() }.others() == 0
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        // SAFETY: By the invariants of `Hold`, which is dropped after this.
        unsafe { self.0 .0.as_ref() }.enders.fetch_sub(1, Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }.put();
    }
}
