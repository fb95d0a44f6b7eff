// SPDX-License-Identifier: GPL-2.0

//! Memory windows, and the requests about their keys.

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::Access;
use super::Mr;
use super::Pd;
use super::Qp;
use super::RemoteAddr;
use super::Rkey;
use super::SendFlags;
use super::Sge;

/// How a window is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MwType {
    /// By ibv_bind_mw(3).
    One,
    /// By a work request.
    Two,
}

/// A memory window.
pub struct Mw<'a> {
    raw: NonNull<sys::ibv_mw>,
    domain: PhantomData<&'a Pd<'a>>,
}

/// To what a window is to be bound.
#[derive(Clone, Copy)]
pub struct Binding<'r> {
    /// The region.
    pub mr: &'r Mr<'r>,
    /// Its first byte, counted from the region's.
    pub start: usize,
    /// How many bytes.
    pub length: usize,
    /// What peers may do.
    pub access: Access,
}

impl<'r> Binding<'r> {
    /// Bytes `range` of a region.
    pub fn new(mr: &'r Mr<'_>, range: Range<usize>, access: Access) -> Self {
        Self {
            mr,
            start: range.start,
            length: range.len(),
            access,
        }
    }

    /// The first byte as peers address it.
    pub fn address(&self) -> u64 {
        self.mr.remote().plus(self.start).address
    }

    fn raw(&self) -> sys::ibv_mw_bind_info {
        sys::ibv_mw_bind_info {
            mr: self.mr.raw(),
            addr: self.address(),
            length: self.length as u64,
            mw_access_flags: self.access.bits(),
        }
    }
}

impl<'a> Mw<'a> {
    /// Allocates a window.
    pub fn new(pd: &'a Pd<'_>, mw_type: MwType) -> Result<Self> {
        let mw_type = match mw_type {
            MwType::One => sys::IBV_MW_TYPE_1,
            MwType::Two => sys::IBV_MW_TYPE_2,
        };
        // SAFETY: The domain and its context are alive: the header's inline ibv_alloc_mw.
        let raw = unsafe {
            match (*(*pd.raw()).context).ops.alloc_mw {
                Some(allocate) => allocate(pd.raw(), mw_type),
                None => return Err(Error::new("ibv_alloc_mw", nix::libc::EOPNOTSUPP)),
            }
        };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_alloc_mw"))?,
            domain: PhantomData,
        })
    }

    /// The key, as the library knows it.
    pub fn rkey(&self) -> Rkey {
        // SAFETY: The window is alive.
        Rkey(unsafe { self.raw.as_ref().rkey })
    }

    /// A key for the next binding of a window of type 2.
    pub fn next_rkey(&self) -> Rkey {
        const VARIANT: u32 = 0xff;
        let Rkey(key) = self.rkey();
        Rkey((key & !VARIANT) | (key.wrapping_add(1) & VARIANT))
    }

    /// The window has got another key.
    pub fn set_rkey(&self, rkey: Rkey) {
        // SAFETY: The window is alive, and nobody else looks at it meanwhile.
        unsafe { (*self.raw.as_ptr()).rkey = rkey.0 };
    }
}

impl Drop for Mw<'_> {
    fn drop(&mut self) {
        // SAFETY: Destroyed once: the header's inline ibv_dealloc_mw.
        report_leak("ibv_dealloc_mw", unsafe {
            match (*(*self.raw.as_ptr()).context).ops.dealloc_mw {
                Some(deallocate) => deallocate(self.raw.as_ptr()),
                None => 0,
            }
        });
    }
}

impl Qp<'_> {
    /// Binds a window of type 1, signalled.
    pub fn bind_type_1(&self, wr_id: u64, window: &Mw<'_>, binding: &Binding<'_>) -> Result<()> {
        let mut bind = sys::ibv_mw_bind {
            wr_id,
            send_flags: SendFlags::SIGNALED.bits(),
            bind_info: binding.raw(),
        };
        // SAFETY: Queue pair, window and region are alive: the header's inline ibv_bind_mw.
        check("ibv_bind_mw", unsafe {
            match (*(*self.raw()).context).ops.bind_mw {
                Some(bind_mw) => bind_mw(self.raw(), window.raw.as_ptr(), &mut bind),
                None => nix::libc::EOPNOTSUPP,
            }
        })
    }

    /// Binds a window of type 2, signalled, with [`Mw::next_rkey`], which becomes its key.
    pub fn bind_type_2(&self, wr_id: u64, window: &Mw<'_>, binding: &Binding<'_>) -> Result<()> {
        let rkey = window.next_rkey();
        self.post_one(wr_id, sys::IBV_WR_BIND_MW, |raw| {
            raw.__bindgen_anon_2.bind_mw.mw = window.raw.as_ptr();
            raw.__bindgen_anon_2.bind_mw.rkey = rkey.0;
            raw.__bindgen_anon_2.bind_mw.bind_info = binding.raw();
        })?;
        window.set_rkey(rkey);
        Ok(())
    }

    /// Makes a key of this process invalid, signalled.
    pub fn invalidate(&self, wr_id: u64, rkey: Rkey) -> Result<()> {
        self.post_one(wr_id, sys::IBV_WR_LOCAL_INV, |raw| {
            raw.__bindgen_anon_1.invalidate_rkey = rkey.0;
        })
    }

    /// Sends a message that makes a key of the peer invalid, signalled.
    pub fn send_and_invalidate(&self, wr_id: u64, sge: Sge, rkey: Rkey) -> Result<()> {
        let mut sge = sys::ibv_sge {
            addr: sge.address,
            length: sge.length,
            lkey: sge.lkey.0,
        };
        self.post_one(wr_id, sys::IBV_WR_SEND_WITH_INV, |raw| {
            raw.sg_list = &raw mut sge;
            raw.num_sge = 1;
            raw.__bindgen_anon_1.invalidate_rkey = rkey.0;
        })
    }

    /// `fill` sets what the opcode needs. What it points to must be alive until this returns.
    fn post_one(
        &self,
        wr_id: u64,
        opcode: sys::ibv_wr_opcode,
        fill: impl FnOnce(&mut sys::ibv_send_wr),
    ) -> Result<()> {
        // SAFETY: ibv_send_wr is integers, raw pointers and unions of them; zeroes are a valid value.
        let mut raw: sys::ibv_send_wr = unsafe { std::mem::zeroed() };
        raw.wr_id = wr_id;
        raw.opcode = opcode;
        raw.send_flags = SendFlags::SIGNALED.bits();
        fill(&mut raw);
        let mut bad = std::ptr::null_mut();
        // SAFETY: As for `post_send`, with a list of one.
        check("ibv_post_send", unsafe {
            let post = (*(*self.raw()).context)
                .ops
                .post_send
                .expect("every provider posts");
            post(self.raw(), &mut raw, &mut bad)
        })
    }
}

/// The first byte of a window that is zero-based.
pub fn zero_based(rkey: Rkey) -> RemoteAddr {
    RemoteAddr { address: 0, rkey }
}
