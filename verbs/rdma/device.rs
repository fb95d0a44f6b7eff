// SPDX-License-Identifier: GPL-2.0

//! Registration of devices.

use super::{
    device_ref::DeviceRef,
    event::PortEvent,
    ops_table,
    Driver,
    PortNumber, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};
use kernel::{
    device,
    error::to_result,
    prelude::*,
    str::CStr,
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
pub(crate) struct Device<D: Driver> {
    raw: Opaque<bindings::ib_device>,
    driver: MaybeUninit<Arc<D>>,
    module: MaybeUninit<&'static ThisModule>,
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
    /// # Safety
    ///
    /// `raw` must head a device of `D`, and operations may run on it during `'a`.
    pub(super) unsafe fn from_raw<'a>(raw: *mut bindings::ib_device) -> &'a Self {
        // SAFETY: By the requirements of this function; `raw` is the first member of a `repr(C)`
        // struct.
        unsafe { &*raw.cast() }
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
    pub(crate) fn driver(&self) -> &Arc<D> {
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
pub(crate) struct DeviceHandle<D: Driver> {
    device: DeviceRef,
    _driver: PhantomData<fn() -> D>,
}

impl<D: Driver> DeviceHandle<D> {
    /// Calls `call` with the device and keeps it registered meanwhile; `None` when it is not
    /// registered (any more).
    fn while_registered<T>(&self, call: impl FnOnce(*mut bindings::ib_device) -> T) -> Option<T> {
        let device = self.device.as_raw();

        // SAFETY: The reference keeps the device valid.
        if !unsafe { bindings::rdma_shim_ib_device_try_get(device) } {
            return None;
        }
        let result = call(device);
        // SAFETY: This gives back what was got above.
        unsafe { bindings::ib_device_put(device) };
        Some(result)
    }

    /// Whether the device is registered at this moment.
    pub(crate) fn is_registered(&self) -> bool {
        self.while_registered(|_| ()).is_some()
    }

    /// Tells users of an event of a port; they get it later. Does nothing when the device is not
    /// registered. May be used in atomic context.
    pub(crate) fn dispatch(&self, port: PortNumber, event: PortEvent) {
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

/// What a device is registered with.
pub(crate) struct DeviceOptions<'a> {
    /// Name, in which one `%d` stands for the lowest free number.
    pub(crate) name: &'a CStr,
    /// What people read about the device, at most 63 bytes.
    pub(crate) node_description: &'a CStr,
    /// Globally unique identifier, an EUI-64 in host byte order.
    pub(crate) node_guid: u64,
    /// Number of completion vectors.
    pub(crate) completion_vectors: u16,
    /// The device whose child this becomes. `None` for a virtual device.
    pub(crate) parent: Option<&'a device::Device>,
}

/// A registered device. Dropping it unregisters the device and waits for its operations to end.
pub(crate) struct Registration<D: Driver> {
    handle: DeviceHandle<D>,
}

impl<D: Driver> Registration<D> {
    /// Registers a device with one port.
    ///
    /// Operations are called before this returns.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name or description that is too long or has a `%` other than in one `%d`,
    /// `ENFILE` for a name in use, `ENOMEM`, and what the driver's operations fail with.
    pub(crate) fn new(
        module: &'static ThisModule,
        driver: Arc<D>,
        options: DeviceOptions<'_>,
    ) -> Result<Self> {
        check_name(options.name)?;
        let mut description = [0; bindings::IB_DEVICE_NODE_DESC_MAX as usize];
        let text = options.node_description.to_bytes_with_nul();
        description
            .get_mut(..text.len())
            .ok_or(EINVAL)?
            .copy_from_slice(text);

        // SAFETY: The size is that of a struct headed by `struct ib_device`.
        let raw = unsafe { bindings::rdma_shim_ib_alloc_device(size_of::<Device<D>>()) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let device = raw.cast::<Device<D>>().as_ptr();
        let ops = ops_table::build::<D>(module);

        // SAFETY: `raw` heads a new `Device<D>`, which nobody else knows yet. The table is copied.
        // `parent` is valid, and is referenced by registration.
        unsafe {
            addr_of_mut!((*device).driver).write(MaybeUninit::new(driver));
            addr_of_mut!((*device).module).write(MaybeUninit::new(module));

            let raw = raw.as_ptr();
            (*raw).node_type = bindings::RDMA_NODE_IB_CA as u8;
            (*raw).phys_port_cnt = PortNumber::FIRST.get();
            (*raw).num_comp_vectors = options.completion_vectors.into();
            (*raw).node_guid = options.node_guid.to_be();
            (*raw).node_desc = description;
            (*raw).uverbs_cmd_mask |= ops_table::USER_COMMANDS;
            (*raw).__bindgen_anon_1.dev.parent =
                options.parent.map_or(core::ptr::null_mut(), |parent| {
                    core::ptr::from_ref(parent).cast_mut().cast()
                });
            bindings::ib_set_device_ops(raw, &ops);
            bindings::rdma_shim_ib_mark_name_assigned_by_user(raw);
        }
        // From its registration on, anybody may unregister the device, and that frees it but for
        // this reference.
        // INVARIANT: `raw` heads a `Device<D>`.
        let handle = DeviceHandle {
            // SAFETY: `raw` is valid.
            device: unsafe { DeviceRef::new(raw) },
            _driver: PhantomData,
        };

        // SAFETY: The device is set up. Without a DMA device, `ib_core` hands out kernel addresses.
        let registered = to_result(unsafe {
            bindings::ib_register_device(
                raw.as_ptr(),
                options.name.as_char_ptr(),
                core::ptr::null_mut(),
            )
        });
        if let Err(error) = registered {
            // SAFETY: The device is not registered, so no operation runs and nobody else frees it.
            // The driver's state is dropped here instead of by `dealloc_driver`, because the
            // driver need not be told.
            unsafe {
                (*raw.as_ptr()).ops.dealloc_driver = None;
                core::ptr::drop_in_place(addr_of_mut!((*device).driver).cast::<Arc<D>>());
                bindings::ib_dealloc_device(raw.as_ptr());
            }
            return Err(error);
        }
        Ok(Self { handle })
    }

    /// A reference to the device.
    pub(crate) fn handle(&self) -> &DeviceHandle<D> {
        &self.handle
    }
}

impl<D: Driver> Drop for Registration<D> {
    fn drop(&mut self) {
        // SAFETY: The handle keeps the device valid. If somebody has unregistered it already, this
        // waits for that to end and does nothing.
        unsafe { bindings::ib_unregister_device(self.handle.device.as_raw()) };
    }
}

/// `ib_register_device()` uses the name as a format.
fn check_name(name: &CStr) -> Result {
    let name = name.to_bytes();
    let mut formats = name.split(|&byte| byte == b'%').skip(1);
    let well_formed = match (formats.next(), formats.next()) {
        (None, _) => true,
        (Some(format), None) => format.first() == Some(&b'd'),
        (Some(_), Some(_)) => false,
    };

    if well_formed && name.len() < bindings::IB_DEVICE_NAME_MAX as usize {
        Ok(())
    } else {
        Err(EINVAL)
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
