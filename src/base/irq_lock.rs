// SPDX-License-Identifier: GPL-2.0

//! A spinlock that may be taken in any context.

use kernel::bindings;
use kernel::ffi::c_char;
use kernel::ffi::c_ulong;
use kernel::sync::lock::Backend;
use kernel::sync::lock::Lock;

use crate::base::bindings as bindings_shim;

/// A spinlock, with interrupts disabled while it is held: interrupts may take it too. Linux 7.2 has none for Rust.
pub(crate) type IrqLock<T> = Lock<T, IrqSaveBackend>;

/// `spin_lock_irqsave()` and its opposite.
pub(crate) struct IrqSaveBackend;

// SAFETY: A spinlock has one owner at a time, and there is one way to take it.
unsafe impl Backend for IrqSaveBackend {
    type State = bindings::spinlock_t;
    /// Whether interrupts were enabled.
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By the requirements of this function.
        unsafe { bindings_shim::base_shim_lock_irqsave(ptr.cast()) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: By the requirements of this function.
        unsafe { bindings_shim::base_shim_trylock_irqsave(ptr.cast(), &mut flags) }.then_some(flags)
    }

    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: By the requirements of this function; `lock` has given these flags.
        unsafe { bindings_shim::base_shim_unlock_irqrestore(ptr.cast(), *guard_state) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}
