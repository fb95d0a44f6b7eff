// SPDX-License-Identifier: GPL-2.0

//! Registration of devices.

use super::{
    device::{
        Device,
        DeviceHandle, //
    },
    device_ref::DeviceRef,
    driver::Driver,
    ops_table,
    port::PortNumber, //
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
    ThisModule, //
};

/// What a device is registered with.
pub struct DeviceOptions<'a> {
    /// Name, in which one `%d` stands for the lowest free number.
    pub name: &'a CStr,
    /// What people read about the device, at most 63 bytes.
    pub node_description: &'a CStr,
    /// Globally unique identifier, an EUI-64 in host byte order.
    pub node_guid: u64,
    /// Number of completion vectors.
    pub completion_vectors: u16,
    /// The device whose child this becomes. `None` for a virtual device.
    pub parent: Option<&'a device::Device>,
}

/// A registered device. Dropping it unregisters the device and waits for its operations to end.
pub struct Registration<D: Driver> {
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
    pub fn new(
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
    pub fn handle(&self) -> &DeviceHandle<D> {
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
