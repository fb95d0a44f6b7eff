// SPDX-License-Identifier: GPL-2.0

//! Memory windows.

use super::{
    driver::Driver,
    error::unsupported,
    object::{
        Object,
        RawObject, //
    },
    protection_domain::Pd, //
};
use crate::verbs::bindings;
use core::convert::Infallible;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// A memory window.
pub type Mw<D> = Object<bindings::ib_mw, D>;

impl RawObject for bindings::ib_mw {
    type Data<D: Driver> = D::Mw;
    type Events = ();
}

/// How a memory window is bound (IBTA 10.6.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MwType {
    /// Again and again, each time with a new key; usable by all queue pairs of its domain.
    One,
    /// By work requests that choose the key, after the key before has been made invalid; usable by one queue pair.
    Two,
}

impl MwType {
    fn from_raw(raw: bindings::ib_mw_type) -> Result<Self> {
        match raw {
            bindings::ib_mw_type_IB_MW_TYPE_1 => Ok(Self::One),
            bindings::ib_mw_type_IB_MW_TYPE_2 => Ok(Self::Two),
            _ => Err(EINVAL),
        }
    }
}

/// The driver's part of a memory window; [`Infallible`] for a driver that has none.
pub trait MwOps<D: Driver>: Sized + Send + Sync {
    /// Whether the driver has memory windows.
    const SUPPORTED: bool = true;

    /// Allocates a memory window for a process.
    fn allocate(pd: &Pd<D>, mw_type: MwType) -> impl PinInit<Self, Error>;

    /// The window's key as it is before it is bound for the first time.
    fn rkey(&self) -> u32;

    /// Ends the window. Nobody may touch memory through it once this has returned. It is dropped then.
    fn deallocate(&self);
}

impl<D: Driver> MwOps<D> for Infallible {
    const SUPPORTED: bool = false;

    fn allocate(_pd: &Pd<D>, _mw_type: MwType) -> impl PinInit<Self, Error> {
        Err::<Self, Error>(unsupported())
    }

    fn rkey(&self) -> u32 {
        match *self {}
    }

    fn deallocate(&self) {
        match *self {}
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.alloc_mw` of a device of `D`.
pub(super) unsafe extern "C" fn alloc_mw<D: Driver>(
    mw: *mut bindings::ib_mw,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a new window of `Object::SIZE` bytes with its domain and type set.
        let (pd, mw_type) = unsafe { (Pd::<D>::from_raw(&(*mw).pd), (*mw).type_) };
        let data = D::Mw::allocate(pd, MwType::from_raw(mw_type)?);

        // SAFETY: As above.
        unsafe { Mw::<D>::init(mw, (), data) }?;
        // SAFETY: The window has just been initialised, and nobody else knows it.
        unsafe { (*mw).rkey = Mw::<D>::from_raw(&mw).rkey() };
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.dealloc_mw` of a device of `D`.
pub(super) unsafe extern "C" fn dealloc_mw<D: Driver>(mw: *mut bindings::ib_mw) -> c_int {
    // SAFETY: `ib_core` passes a window that `alloc_mw` has initialised, and uses it no more.
    unsafe {
        Mw::<D>::from_raw(&mw).deallocate();
        Mw::<D>::drop_data(mw);
    }
    0
}
