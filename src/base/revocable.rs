// SPDX-License-Identifier: GPL-2.0

//! Something that is lent out for moments, and goes away only when all of it has been given back.

use core::ops::Deref;
use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Completion;

/// Whether the owner still lends.
const LENDING: i32 = 1;
const RECALLED: i32 = 0;

/// A value that is used in atomic context, and whose end may sleep.
///
/// Its owners hold references of the common kind. Users hold [`Loan`]s instead, which cost one counter, and
/// which never drop the value: [`Lent::recall`] waits for them, and so does the last owner.
///
/// # Invariants
///
/// `count` is the number of loans, plus one as long as `owner` is [`LENDING`].
#[pin_data(PinnedDrop)]
pub(crate) struct Lent<T> {
    count: Atomic<i32>,
    owner: Atomic<i32>,
    #[pin]
    none: Completion,
    value: T,
}

impl<T> Lent<T> {
    /// Not lent to anybody yet.
    pub(crate) fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: One for the owner.
            count: Atomic::new(1),
            owner: Atomic::new(LENDING),
            none <- Completion::new(),
            value,
        })
    }

    /// Lends the value.
    ///
    /// # Safety
    ///
    /// [`Lent::recall`] must not have been called, nor be called before this returns.
    pub(crate) unsafe fn lend(&self) -> Loan<T> {
        // INVARIANT: There is one more. It cannot be the first after the last has been given back, because
        // the owner still counts.
        self.count.fetch_add(1, Relaxed);
        Loan(self.into())
    }

    fn give_back(&self) {
        if self.count.fetch_sub(1, Full) == 1 {
            // The last access to `self`: whoever waits may drop it.
            self.none.complete_all();
        }
    }

    /// Waits until nobody has the value any more. Sleeps.
    pub(crate) fn recall(&self) {
        if self.owner.xchg(RECALLED, Relaxed) == LENDING {
            // INVARIANT: The owner does not count any more.
            self.give_back();
        }
        self.none.wait_for_completion();
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Lent<T> {
    fn drop(self: Pin<&mut Self>) {
        self.recall();
    }
}

/// A value of somebody else's, until this is dropped. That may be done in atomic context.
///
/// # Invariants
///
/// Counted by the value, which therefore exists.
pub(crate) struct Loan<T>(NonNull<Lent<T>>);

// SAFETY: It is a shared reference to the value, and never drops it.
unsafe impl<T: Sync> Send for Loan<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Loan<T> {}

impl<T> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariants.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }.give_back();
    }
}
