// SPDX-License-Identifier: GPL-2.0

//! Memory regions.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::BorrowedFd;
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
        /// Peers may have what they wrote made visible to everybody.
        const FLUSH_GLOBAL = sys::IBV_ACCESS_FLUSH_GLOBAL;
        /// A hint that a device may ignore.
        const RELAXED_ORDERING = sys::IBV_ACCESS_RELAXED_ORDERING;
    }
}

/// `struct ib_uverbs_cmd_hdr` and `struct ib_uverbs_rereg_mr` of `<rdma/ib_user_verbs.h>`.
#[repr(C)]
struct ReregisterCommand {
    command: u32,
    in_words: u16,
    out_words: u16,
    response: u64,
    mr_handle: u32,
    flags: u32,
    start: u64,
    length: u64,
    hca_va: u64,
    pd_handle: u32,
    access_flags: u32,
}

impl ReregisterCommand {
    /// `IB_USER_VERBS_CMD_REREG_MR`.
    const NUMBER: u32 = 11;
}

/// A registered part of a [`Buffer`].
pub struct Mr<'a> {
    raw: NonNull<sys::ibv_mr>,
    buffer: &'a Buffer,
    range: Range<usize>,
    /// The kernel's name of the domain it was made in.
    pd: u32,
    domain: PhantomData<&'a Pd<'a>>,
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
            pd: pd.handle(),
            domain: PhantomData,
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

    /// Changes what may be done with the region, as ibv_rereg_mr(3) does.
    pub fn change_access(&self, access: Access) -> Result<()> {
        self.reregister(sys::IBV_REREG_MR_CHANGE_ACCESS, self.pd, access)
    }

    /// Moves the region to another protection domain, as ibv_rereg_mr(3) does.
    pub fn change_domain(&self, pd: &'a Pd<'_>) -> Result<()> {
        self.reregister(sys::IBV_REREG_MR_CHANGE_PD, pd.handle(), Access::empty())
    }

    /// Asks for other memory, as ibv_rereg_mr(3) does, but for the same bytes.
    pub fn change_translation(&self) -> Result<()> {
        self.reregister(
            sys::IBV_REREG_MR_CHANGE_TRANSLATION,
            self.pd,
            Access::empty(),
        )
    }

    /// The command itself: ibv_rereg_mr(3) reaches the kernel only where the device's library knows it, and
    /// rxe's does not.
    fn reregister(&self, flags: u32, pd_handle: u32, access: Access) -> Result<()> {
        let mut response = [0u32; 2];
        let address = self.buffer.address(self.range.start);
        let command = ReregisterCommand {
            command: ReregisterCommand::NUMBER,
            in_words: (size_of::<ReregisterCommand>() / size_of::<u32>()) as u16,
            out_words: response.len() as u16,
            response: response.as_mut_ptr() as u64,
            // SAFETY: The region is alive.
            mr_handle: unsafe { self.raw.as_ref().handle },
            flags,
            start: address,
            length: self.range.len() as u64,
            hca_va: address,
            pd_handle,
            access_flags: access.bits(),
        };
        // SAFETY: The region's context is alive, and its descriptor open. The command has no
        // padding, and `response` outlives the call.
        let (fd, bytes) = unsafe {
            (
                BorrowedFd::borrow_raw((*self.raw.as_ref().context).cmd_fd),
                std::slice::from_raw_parts(
                    (&raw const command).cast::<u8>(),
                    size_of::<ReregisterCommand>(),
                ),
            )
        };
        nix::unistd::write(fd, bytes)
            .map_err(|errno| Error::new("IB_USER_VERBS_CMD_REREG_MR", errno as i32))?;
        Ok(())
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
