// SPDX-License-Identifier: GPL-2.0

//! Being called by the kernel when something happens to the host: blocking notifier chains.

use core::marker::PhantomData;

use kernel::container_of;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

use crate::base::bindings;

/// A chain of the kernel's, whose calls may sleep.
///
/// # Safety
///
/// `register` must add a block to a blocking notifier chain, and `unregister` take it out again. Calls must take
/// the lock of the chain, so that none is under way when `unregister` returns.
pub(crate) unsafe trait Chain: 'static {
    /// The event that callbacks are told of.
    type Event;

    /// Adds `block`; gives 0 or a negative error number.
    ///
    /// # Safety
    ///
    /// `block` must be initialised, and must stay where it is until it is taken out.
    unsafe fn register(block: *mut bindings::notifier_block) -> c_int;

    /// Takes `block` out.
    ///
    /// # Safety
    ///
    /// `block` must have been added.
    unsafe fn unregister(block: *mut bindings::notifier_block);

    /// What a call with these arguments says; nothing if it is of no interest.
    ///
    /// # Safety
    ///
    /// The arguments must be those of a call of this chain that has not returned.
    unsafe fn event(action: c_ulong, data: *mut c_void) -> Option<Self::Event>;
}

/// Wants to know of the events of a chain.
pub(crate) trait Observer<C: Chain>: Send + Sync + 'static {
    /// `event` happens. May sleep.
    fn notify(&self, event: C::Event);
}

/// An observer on a chain. Dropping this waits for a call under way.
///
/// # Invariants
///
/// `block` is registered with `C`, and calls [`called`] of the same `C` and `T`.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier<C: Chain, T: Observer<C>> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    observer: Arc<T>,
    chain: PhantomData<fn() -> C>,
}

// SAFETY: The block may be unregistered by any thread, and an `Arc<T>` of a `T` that is `Send` and `Sync`
// may be dropped by any.
unsafe impl<C: Chain, T: Observer<C>> Send for Notifier<C, T> {}

// SAFETY: A shared reference gives access to nothing but the `T`, which is `Sync`.
unsafe impl<C: Chain, T: Observer<C>> Sync for Notifier<C, T> {}

impl<C: Chain, T: Observer<C>> Notifier<C, T> {
    /// Registers `observer`.
    pub(crate) fn new(observer: Arc<T>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Before the block, which may be called as soon as it is registered.
            observer,
            chain: PhantomData,
            // INVARIANT: It is registered once initialised, else the whole is not.
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                // SAFETY: `block` may be written. It stays where it is, because it is pinned, and is
                // unregistered before it goes, in `drop`. Nothing after this can fail.
                unsafe {
                    block.write(bindings::notifier_block {
                        notifier_call: Some(called::<C, T>),
                        ..Default::default()
                    });
                    to_result(C::register(block))
                }
            }),
        })
    }
}

#[pinned_drop]
impl<C: Chain, T: Observer<C>> PinnedDrop for Notifier<C, T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariants it is registered.
        unsafe { C::unregister(self.block.get()) };
    }
}

/// The notifier call of a [`Notifier<C, T>`].
///
/// # Safety
///
/// To be called by the chain `C` only, with the block of a `Notifier<C, T>`.
unsafe extern "C" fn called<C: Chain, T: Observer<C>>(
    block: *mut bindings::notifier_block,
    action: c_ulong,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `Opaque` has the layout of what it holds. The observer was initialised before the block was
    // registered, and the drop of the notifier waits for this call.
    let this = unsafe { &*container_of!(Opaque::cast_from(block), Notifier<C, T>, block) };
    // SAFETY: The chain calls with these arguments.
    if let Some(event) = unsafe { C::event(action, data) } {
        this.observer.notify(event);
    }
    bindings::NOTIFY_DONE as c_int
}
