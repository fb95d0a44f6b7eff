// SPDX-License-Identifier: GPL-2.0

//! Protection domains.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::Context;

/// A protection domain: keys work only with queue pairs of the same one.
pub struct Pd<'a> {
    raw: NonNull<sys::ibv_pd>,
    context: PhantomData<&'a Context>,
}

impl<'a> Pd<'a> {
    /// Allocates a domain.
    pub fn new(context: &'a Context) -> Result<Self> {
        // SAFETY: The context is open.
        let raw = unsafe { sys::ibv_alloc_pd(context.raw()) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_alloc_pd"))?,
            context: PhantomData,
        })
    }

    /// What the kernel calls it.
    pub(super) fn handle(&self) -> u32 {
        // SAFETY: The domain is alive; the field never changes.
        unsafe { self.raw.as_ref().handle }
    }

    pub(super) fn raw(&self) -> *mut sys::ibv_pd {
        self.raw.as_ptr()
    }
}

impl Drop for Pd<'_> {
    fn drop(&mut self) {
        // SAFETY: All objects in the domain borrow it and are gone.
        report_leak("ibv_dealloc_pd", unsafe { sys::ibv_dealloc_pd(self.raw()) });
    }
}
