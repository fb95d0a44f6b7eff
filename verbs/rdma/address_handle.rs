// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use super::{
    ah_attributes::AhAttributes,
    driver::Driver,
    error::unsupported,
    object::{
        Object,
        RawObject, //
    },
    protection_domain::Pd,
    user_data::UserData, //
};
use crate::verbs::bindings;
use core::convert::Infallible;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// An address handle.
pub type AddressHandle<D> = Object<bindings::ib_ah, D>;

impl RawObject for bindings::ib_ah {
    type Data<D: Driver> = D::Ah;
    type Events = ();
}

/// The driver's part of an address handle; [`Infallible`] for a driver that has none.
pub trait AhOps<D: Driver>: Sized + Send + Sync {
    /// Whether the driver has address handles.
    const SUPPORTED: bool = true;

    /// Creates an address handle, for a process or (no `user`) for the kernel. Must not sleep for the latter.
    fn create(
        pd: &Pd<D>,
        attributes: AhAttributes,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error>;

    /// Ends the handle. It is dropped after this. Neither must sleep for a handle of the kernel.
    fn destroy(&self) {}
}

impl<D: Driver> AhOps<D> for Infallible {
    const SUPPORTED: bool = false;

    fn create(
        _pd: &Pd<D>,
        _attributes: AhAttributes,
        _user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        Err::<Self, Error>(unsupported())
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.create_ah` and `.create_user_ah` of a device of `D`.
pub(super) unsafe extern "C" fn create_ah<D: Driver>(
    ah: *mut bindings::ib_ah,
    init: *mut bindings::rdma_ah_init_attr,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a new handle of `Object::SIZE` bytes with its domain set, and
        // the call's `udata`.
        let (pd, user) = unsafe { (Pd::<D>::from_raw(&(*ah).pd), UserData::from_raw(&udata)) };
        // SAFETY: `ib_core` passes valid attributes and holds the entry of the GID table.
        let attributes = unsafe { AhAttributes::from_raw(&*(*init).ah_attr) }?;
        let data = D::Ah::create(pd, attributes, user);

        // SAFETY: As above.
        unsafe { AddressHandle::<D>::init(ah, (), data) }?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.destroy_ah` of a device of `D`.
pub(super) unsafe extern "C" fn destroy_ah<D: Driver>(
    ah: *mut bindings::ib_ah,
    _flags: u32,
) -> c_int {
    // SAFETY: `ib_core` passes a handle that `create_ah` has initialised, and uses it no more.
    unsafe {
        AddressHandle::<D>::from_raw(&ah).destroy();
        AddressHandle::<D>::drop_data(ah);
    }
    0
}
