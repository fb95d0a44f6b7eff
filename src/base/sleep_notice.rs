// SPDX-License-Identifier: GPL-2.0

//! Being told that the host is about to sleep, or that its memory is about to be saved, when whoever could use it is frozen, and that
//! it is awake again.

use core::ptr::NonNull;

use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::Arc;

use crate::base::bindings;

/// Whoever has to do something before devices fall asleep.
pub(crate) trait Sleeper: Send + Sync + 'static {
    /// Devices are about to be suspended, for whatever: to sleep, or to have memory saved or restored. Processes are frozen, and those
    /// threads of the kernel that can be (for a kexec that comes back, processes only). May sleep. On an error the host stays awake.
    fn fall_asleep(&self) -> Result;

    /// Devices are awake again; nobody is thawed yet. Attempts that fail on the way end so too, even without the above. Once after each of
    /// the above, however that ended. May sleep.
    fn wake(&self);
}

/// Has a sleeper told. Dropping this waits for a call under way.
///
/// # Invariants
///
/// `device` came from `base_shim_add_sleeper()`, with the functions [`fall_asleep`] and [`wake`] of the same `T`, and `sleeper`.
pub(crate) struct SleepNotice<T: Sleeper> {
    device: NonNull<c_void>,
    _sleeper: Arc<T>,
}

// SAFETY: The device may be removed by any thread, and an `Arc<T>` of a `T` that is `Send` and `Sync` may be dropped by any.
unsafe impl<T: Sleeper> Send for SleepNotice<T> {}

// SAFETY: There is nothing that could be done to it but dropping it.
unsafe impl<T: Sleeper> Sync for SleepNotice<T> {}

impl<T: Sleeper> SleepNotice<T> {
    /// Has `sleeper` told, by a device called `name` that is there for nothing else.
    pub(crate) fn new(name: &CStr, sleeper: Arc<T>) -> Result<Self> {
        // SAFETY: The name ends with a zero, and the sleeper lives until the device is removed.
        let device = from_err_ptr(unsafe {
            bindings::base_shim_add_sleeper(
                name.as_char_ptr(),
                Some(fall_asleep::<T>),
                Some(wake::<T>),
                Arc::as_ptr(&sleeper).cast(),
            )
        })?;
        // INVARIANT: It was added just now.
        Ok(Self {
            device: NonNull::new(device).ok_or(ENOMEM)?,
            _sleeper: sleeper,
        })
    }
}

impl<T: Sleeper> Drop for SleepNotice<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { bindings::base_shim_remove_sleeper(self.device.as_ptr()) };
    }
}

/// What the device of a [`SleepNotice<T>`] calls when devices are about to be suspended.
///
/// # Safety
///
/// `sleeper` must point to the notice's sleeper.
unsafe extern "C" fn fall_asleep<T: Sleeper>(sleeper: *const c_void) -> c_int {
    // SAFETY: As required from the caller.
    match unsafe { &*sleeper.cast::<T>() }.fall_asleep() {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// What it calls when they are awake again.
///
/// # Safety
///
/// `sleeper` must point to the notice's sleeper.
unsafe extern "C" fn wake<T: Sleeper>(sleeper: *const c_void) {
    // SAFETY: As required from the caller.
    unsafe { &*sleeper.cast::<T>() }.wake();
}
