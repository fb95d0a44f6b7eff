// SPDX-License-Identifier: GPL-2.0

//! User contexts: what a process that has opened a device owns.

use super::{
    device::Device,
    driver::Driver,
    mmap::MmapRequest,
    object::{
        Object,
        RawObject, //
    }, //
};
use crate::verbs::bindings;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// A user context.
pub type UserContext<D> = Object<bindings::ib_ucontext, D>;

impl RawObject for bindings::ib_ucontext {
    type Data<D: Driver> = D::UserContext;
    type Events = ();
}

/// The driver's part of a user context.
pub trait UserContextOps<D: Driver>: Sized + Send + Sync {
    /// Creates the context of a process.
    fn create(device: &Device<D>) -> impl PinInit<Self, Error>;

    /// Maps memory into the process.
    fn mmap(&self, request: MmapRequest<'_>) -> Result;

    /// Ends the context: all objects of the process are gone. It is dropped after this. Memory may
    /// still be mapped.
    fn destroy(&self) {}
}

impl<D: Driver> UserContext<D> {
    /// The device of this context.
    pub fn device(&self) -> &Device<D> {
        // SAFETY: The context is valid by the type's invariants, so its device exists.
        unsafe { Device::from_raw(&(*self.as_raw()).device) }
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.alloc_ucontext` of a device of `D`.
pub(super) unsafe extern "C" fn alloc_ucontext<D: Driver>(
    context: *mut bindings::ib_ucontext,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a new context of `Object::SIZE` bytes with its device set.
        let device = unsafe { Device::<D>::from_raw(&(*context).device) };
        // A process keeps the module, because it keeps what the module serves it with. `ib_uverbs`
        // does not do that for drivers that support disassociation.
        let module = device.pin_module()?;
        let data = D::UserContext::create(device);

        // SAFETY: As above.
        unsafe { UserContext::<D>::init(context, (), data) }?;
        module.keep();
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.dealloc_ucontext` of a device of `D`.
pub(super) unsafe extern "C" fn dealloc_ucontext<D: Driver>(context: *mut bindings::ib_ucontext) {
    // SAFETY: `ib_core` passes a context that `alloc_ucontext` has initialised, and uses it no more.
    unsafe {
        let this = UserContext::<D>::from_raw(&context);
        let device = this.device();

        this.destroy();
        UserContext::<D>::drop_data(context);
        device.unpin_module();
    }
}

/// Separates a process from a device that goes away. There is nothing to do: processes map plain
/// memory, which stays theirs until they unmap it.
///
/// # Safety
///
/// None; `unsafe` as the type of the operation requires.
pub(super) unsafe extern "C" fn disassociate_ucontext(_context: *mut bindings::ib_ucontext) {}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.mmap` of a device of `D`.
pub(super) unsafe extern "C" fn mmap<D: Driver>(
    context: *mut bindings::ib_ucontext,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing context.
        let this = unsafe { UserContext::<D>::from_raw(&context) };
        // SAFETY: `ib_core` passes an area that is being set up by this call.
        this.mmap(unsafe { MmapRequest::from_raw(&vma) })?;
        Ok(0)
    })
}
