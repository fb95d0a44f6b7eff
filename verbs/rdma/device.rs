// SPDX-License-Identifier: GPL-2.0

//! Devices.

use super::{
    device_ref::DeviceRef,
    driver::Driver,
    event::PortEvent,
    port::PortNumber, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque,
    ThisModule, //
};

/// A device as its operations see it.
///
/// # Invariants
///
/// A `&Device` exists only while operations may run: `raw`, `driver` and `module` are initialised.
#[repr(C)]
pub struct Device<D: Driver> {
    raw: Opaque<bindings::ib_device>,
    pub(super) driver: MaybeUninit<Arc<D>>,
    pub(super) module: MaybeUninit<&'static ThisModule>,
}

/// A reference to a module, which is given back when this is dropped.
pub(super) struct ModulePin<'a, D: Driver>(&'a Device<D>);

impl<D: Driver> ModulePin<'_, D> {
    /// Leaves it to [`Device::unpin_module`] to give the reference back.
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }
}

impl<D: Driver> Drop for ModulePin<'_, D> {
    fn drop(&mut self) {
        self.0.unpin_module();
    }
}

impl<D: Driver> Device<D> {
    /// The device that `ib_core` names by `raw`, for no longer than the pointer is kept there.
    ///
    /// # Safety
    ///
    /// `raw` must head a device of `D`, and operations may run on it as long as the returned
    /// reference is used.
    pub(super) unsafe fn from_raw(raw: &*mut bindings::ib_device) -> &Self {
        // SAFETY: By the requirements of this function; `raw` is the first member of a `repr(C)`
        // struct.
        unsafe { &*(*raw).cast() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::ib_device {
        self.raw.get()
    }

    /// A reference that may outlive the registration.
    pub(super) fn reference(&self) -> DeviceRef {
        // SAFETY: The device is valid by the type's invariants, and its address is not null.
        unsafe { DeviceRef::new(NonNull::new_unchecked(self.as_raw())) }
    }

    /// The driver's state.
    pub fn driver(&self) -> &Arc<D> {
        // SAFETY: By the type's invariants.
        unsafe { self.driver.assume_init_ref() }
    }

    fn module(&self) -> *mut kernel::ffi::c_void {
        // SAFETY: By the type's invariants.
        unsafe { self.module.assume_init() }.as_ptr().cast()
    }

    /// Keeps the driver's module loaded.
    ///
    /// # Errors
    ///
    /// `ENODEV` when it is being removed.
    pub(super) fn pin_module(&self) -> Result<ModulePin<'_, D>> {
        // SAFETY: The module exists, because its code is running.
        if unsafe { bindings::rdma_shim_try_module_get(self.module()) } {
            Ok(ModulePin(self))
        } else {
            Err(ENODEV)
        }
    }

    /// Gives back a reference of [`Device::pin_module`].
    pub(super) fn unpin_module(&self) {
        // SAFETY: The callers own a reference.
        unsafe { bindings::rdma_shim_module_put(self.module()) };
    }
}

/// A reference to a device that may outlive its registration.
///
/// # Invariants
///
/// `device` heads a `Device<D>`.
pub struct DeviceHandle<D: Driver> {
    pub(super) device: DeviceRef,
    pub(super) _driver: PhantomData<fn() -> D>,
}

impl<D: Driver> DeviceHandle<D> {
    /// Calls `call` with the device and keeps it registered meanwhile, unless it is not registered (any more).
    fn while_registered(&self, call: impl FnOnce(*mut bindings::ib_device)) {
        let device = self.device.as_raw();

        // SAFETY: The reference keeps the device valid.
        if !unsafe { bindings::rdma_shim_ib_device_try_get(device) } {
            return;
        }
        call(device);
        // SAFETY: This gives back what was got above.
        unsafe { bindings::ib_device_put(device) };
    }

    /// Tells users of an event of a port; they get it later. Does nothing when the device is not
    /// registered. May be used in atomic context.
    pub fn dispatch(&self, port: PortNumber, event: PortEvent) {
        self.while_registered(|device| {
            let event = bindings::ib_event {
                device,
                element: bindings::ib_event__bindgen_ty_1 {
                    port_num: port.get(),
                },
                event: event.into_raw(),
            };

            // SAFETY: The device is registered, and the event is copied by the function.
            unsafe { bindings::ib_dispatch_event(&event) };
        });
    }
}

impl<D: Driver> Clone for DeviceHandle<D> {
    fn clone(&self) -> Self {
        // INVARIANT: The clone refers to the same device.
        Self {
            device: self.device.clone(),
            _driver: PhantomData,
        }
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.dealloc_driver` of a device of `D`.
pub(super) unsafe extern "C" fn dealloc_driver<D: Driver>(raw: *mut bindings::ib_device) {
    let device = raw.cast::<Device<D>>();

    // SAFETY: `ib_core` calls this once, when no operation runs any more.
    let driver = unsafe { addr_of_mut!((*device).driver).cast::<Arc<D>>().read() };
    driver.unregistered();
}
