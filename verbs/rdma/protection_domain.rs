// SPDX-License-Identifier: GPL-2.0

//! Protection domains.

use super::{
    device::Device,
    driver::Driver,
    object::{
        Object,
        RawObject, //
    },
    user_data::UserData, //
};
use crate::verbs::bindings;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// A protection domain.
pub type Pd<D> = Object<bindings::ib_pd, D>;

impl RawObject for bindings::ib_pd {
    type Data<D: Driver> = D::Pd;
    type Events = ();
}

/// The driver's part of a protection domain.
pub trait PdOps<D: Driver>: Sized + Send + Sync {
    /// Creates a protection domain, for a process or (no `user`) for the kernel.
    fn create(device: &Device<D>, user: Option<UserData<'_, D>>) -> impl PinInit<Self, Error>;

    /// Ends the protection domain: nothing refers to it any more. It is dropped after this.
    fn destroy(&self) {}
}

impl<D: Driver> Pd<D> {
    /// The device of this domain.
    pub fn device(&self) -> &Device<D> {
        // SAFETY: The domain is valid by the type's invariants, so its device exists.
        unsafe { Device::from_raw(&(*self.as_raw()).device) }
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.alloc_pd` of a device of `D`.
pub(super) unsafe extern "C" fn alloc_pd<D: Driver>(
    pd: *mut bindings::ib_pd,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a new domain of `Object::SIZE` bytes with its device set.
        let device = unsafe { Device::<D>::from_raw(&(*pd).device) };
        // SAFETY: `ib_core` passes the call's `udata`.
        let user = unsafe { UserData::from_raw(&udata) };
        let data = D::Pd::create(device, user);

        // SAFETY: As above.
        unsafe { Pd::<D>::init(pd, (), data) }?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.dealloc_pd` of a device of `D`.
pub(super) unsafe extern "C" fn dealloc_pd<D: Driver>(
    pd: *mut bindings::ib_pd,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    // SAFETY: `ib_core` passes a domain that `alloc_pd` has initialised, and uses it no more.
    unsafe {
        Pd::<D>::from_raw(&pd).destroy();
        Pd::<D>::drop_data(pd);
    }
    0
}
