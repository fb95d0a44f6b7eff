// SPDX-License-Identifier: GPL-2.0

//! Private data between a driver and its user space provider.

use super::{
    driver::Driver,
    user_context::UserContext, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

/// The driver-private request and response of one verb called by user space.
///
/// An operation that gets none was called by a kernel user.
///
/// # Invariants
///
/// `raw` points to the `driver_udata` of a `uverbs_attr_bundle` that is valid for `'a`.
pub struct UserData<'a, D: Driver> {
    raw: NonNull<bindings::ib_udata>,
    _call: PhantomData<&'a ()>,
    _driver: PhantomData<fn() -> D>,
}

impl<'a, D: Driver> UserData<'a, D> {
    /// # Safety
    ///
    /// `raw` must be null, or point to the `driver_udata` of a `uverbs_attr_bundle` of a device of
    /// `D` that is valid for `'a`, which is no longer than the pointer is kept there.
    pub(super) unsafe fn from_raw(raw: &'a *mut bindings::ib_udata) -> Option<Self> {
        // INVARIANT: By the requirements of this function.
        NonNull::new(*raw).map(|raw| Self {
            raw,
            _call: PhantomData,
            _driver: PhantomData,
        })
    }

    /// The context of the calling process.
    pub fn context(&self) -> &UserContext<D> {
        // SAFETY: By the type's invariants, `raw` is in a bundle of a call on an existing context,
        // which cannot be destroyed before the call returns. The C struct heads the context.
        unsafe {
            let context = bindings::rdma_shim_udata_context(self.raw.as_ptr());
            &*context.cast()
        }
    }

    /// Number of bytes the response has room for.
    pub fn response_len(&self) -> usize {
        // SAFETY: By the type's invariants.
        unsafe { (*self.raw.as_ptr()).outlen }
    }

    /// Reads the request, of which user space may know more than `T`, as long as that is zero.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the request is shorter, `EOPNOTSUPP` when what follows is not zero, `EFAULT`.
    pub fn request<T: FromBytes>(&self) -> Result<T> {
        let mut request = MaybeUninit::<T>::uninit();

        // SAFETY: `request` is valid to write, and `raw` is valid by the type's invariants.
        to_result(unsafe {
            bindings::_ib_copy_validate_udata_in(
                self.raw.as_ptr(),
                request.as_mut_ptr().cast(),
                size_of::<T>(),
                size_of::<T>(),
            )
        })?;
        // SAFETY: The function has succeeded, and so has written every byte; any bytes are a `T`.
        Ok(unsafe { request.assume_init() })
    }

    /// Writes the response; what user space has room for beyond it is zeroed.
    ///
    /// # Errors
    ///
    /// `EINVAL` when there is less room, `EFAULT`.
    pub fn respond<T: AsBytes>(&self, response: &T) -> Result {
        let response = response.as_bytes();

        if self.response_len() < response.len() {
            return Err(EINVAL);
        }
        // SAFETY: `response` is valid to read, and `raw` is valid by the type's invariants.
        to_result(unsafe {
            bindings::_ib_respond_udata(self.raw.as_ptr(), response.as_ptr().cast(), response.len())
        })
    }
}
