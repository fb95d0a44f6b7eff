// SPDX-License-Identifier: GPL-2.0

//! Memory regions.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::Buffer;
use super::Lkey;
use super::Pd;
use super::RemoteAddr;
use super::Rkey;
use super::Sge;

bitflags::bitflags! {
    /// What may be done with a region, or through a queue pair.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// The device may write on this process's behalf.
        const LOCAL_WRITE = sys::IBV_ACCESS_LOCAL_WRITE;
        /// Peers may write.
        const REMOTE_WRITE = sys::IBV_ACCESS_REMOTE_WRITE;
        /// Peers may read.
        const REMOTE_READ = sys::IBV_ACCESS_REMOTE_READ;
        /// Peers may do atomics.
        const REMOTE_ATOMIC = sys::IBV_ACCESS_REMOTE_ATOMIC;
        /// A hint that a device may ignore.
        const RELAXED_ORDERING = sys::IBV_ACCESS_RELAXED_ORDERING;
    }
}

/// A registered part of a [`Buffer`].
pub struct Mr<'a> {
    raw: NonNull<sys::ibv_mr>,
    buffer: &'a Buffer,
    range: Range<usize>,
    pd: PhantomData<&'a Pd<'a>>,
}

fn register(
    pd: &Pd<'_>,
    address: u64,
    length: usize,
    access: Access,
) -> Result<NonNull<sys::ibv_mr>> {
    // SAFETY: The domain is alive. The call itself only pins memory; whether the device may then
    // touch it is for the callers to justify.
    let raw = unsafe {
        sys::ibv_reg_mr_iova2(pd.raw(), address as *mut _, length, address, access.bits())
    };
    NonNull::new(raw).ok_or_else(|| Error::last("ibv_reg_mr"))
}

impl<'a> Mr<'a> {
    /// Registers `range` of `buffer`. Panics when the range is outside of it.
    pub fn new(
        pd: &'a Pd<'_>,
        buffer: &'a Buffer,
        range: Range<usize>,
        access: Access,
    ) -> Result<Self> {
        assert!(range.start <= range.end && range.end <= buffer.len());
        // The device may write these bytes from here on. They belong to `buffer`, which is borrowed
        // until the region is deregistered and never lends out references to its bytes.
        let raw = register(pd, buffer.address(range.start), range.len(), access)?;
        Ok(Self {
            raw,
            buffer,
            range,
            pd: PhantomData,
        })
    }

    /// Tries to register any address range for local reading, and gives it up at once: no key leaves
    /// this function, so nothing can ever be accessed through the region.
    pub fn probe(pd: &Pd<'_>, address: u64, length: usize) -> Result<()> {
        let raw = register(pd, address, length, Access::empty())?;
        // SAFETY: Made just now, destroyed once.
        check("ibv_dereg_mr", unsafe { sys::ibv_dereg_mr(raw.as_ptr()) })
    }

    /// The key for work requests of this process.
    pub fn lkey(&self) -> Lkey {
        // SAFETY: The region is alive; the field is set when it is made.
        Lkey(unsafe { self.raw.as_ref().lkey })
    }

    /// The key for work requests of peers.
    pub fn rkey(&self) -> Rkey {
        // SAFETY: The region is alive; the field is set when it is made.
        Rkey(unsafe { self.raw.as_ref().rkey })
    }

    /// The registered bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether no byte is registered.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A local scatter/gather element for `range` of the region. The range is not checked: a wrong one is
    /// for the device to refuse.
    pub fn sge(&self, range: Range<usize>) -> Sge {
        Sge {
            address: self.buffer.address(self.range.start + range.start),
            length: u32::try_from(range.len()).unwrap_or(u32::MAX),
            lkey: self.lkey(),
        }
    }

    /// The region's first byte as peers address it.
    pub fn remote(&self) -> RemoteAddr {
        RemoteAddr {
            address: self.buffer.address(self.range.start),
            rkey: self.rkey(),
        }
    }

    /// Deregisters, telling of failure.
    pub fn deregister(self) -> Result<()> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `ManuallyDrop` keeps the destructor from doing it a second time.
        check("ibv_dereg_mr", unsafe {
            sys::ibv_dereg_mr(this.raw.as_ptr())
        })
    }
}

impl Drop for Mr<'_> {
    fn drop(&mut self) {
        // SAFETY: The region is destroyed once.
        report_leak("ibv_dereg_mr", unsafe {
            sys::ibv_dereg_mr(self.raw.as_ptr())
        });
    }
}
