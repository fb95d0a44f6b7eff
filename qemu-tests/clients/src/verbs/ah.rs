// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::AddressVector;
use super::Pd;

/// Where datagrams may go.
pub struct Ah<'a> {
    raw: NonNull<sys::ibv_ah>,
    pd: PhantomData<&'a Pd<'a>>,
}

impl<'a> Ah<'a> {
    /// Makes a handle.
    pub fn new(pd: &'a Pd<'_>, address: &AddressVector) -> Result<Self> {
        let mut attr = address.to_raw();
        // SAFETY: The domain is alive and `attr` is valid for the read.
        let raw = unsafe { sys::ibv_create_ah(pd.raw(), &mut attr) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_create_ah"))?,
            pd: PhantomData,
        })
    }
}

impl Ah<'_> {
    pub(super) fn raw(&self) -> *mut sys::ibv_ah {
        self.raw.as_ptr()
    }
}

impl Drop for Ah<'_> {
    fn drop(&mut self) {
        // SAFETY: Destroyed once, and nothing refers to it.
        report_leak("ibv_destroy_ah", unsafe {
            sys::ibv_destroy_ah(self.raw.as_ptr())
        });
    }
}
