// SPDX-License-Identifier: GPL-2.0

//! Shared receive queues.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::PostError;
use super::error::Result;
use super::sys;
use super::work_request::RecvChain;
use super::Pd;
use super::RecvRequest;

/// Tells shared receive queues of one context apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrqId(usize);

impl SrqId {
    pub(super) fn from_raw(raw: *mut sys::ibv_srq) -> Self {
        Self(raw.addr())
    }
}

/// A receive queue that several queue pairs take from.
pub struct Srq<'a> {
    raw: NonNull<sys::ibv_srq>,
    pd: PhantomData<&'a Pd<'a>>,
}

impl<'a> Srq<'a> {
    /// Makes a queue with room for at least `max_wr` WQEs of `max_sge` elements each.
    pub fn new(pd: &'a Pd<'_>, max_wr: u32, max_sge: u32) -> Result<Self> {
        let mut init = sys::ibv_srq_init_attr {
            srq_context: std::ptr::null_mut(),
            attr: sys::ibv_srq_attr {
                max_wr,
                max_sge,
                srq_limit: 0,
            },
        };
        // SAFETY: The domain is alive and `init` is valid for reads and writes.
        let raw = unsafe { sys::ibv_create_srq(pd.raw(), &mut init) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_create_srq"))?,
            pd: PhantomData,
        })
    }

    pub(super) fn raw(&self) -> *mut sys::ibv_srq {
        self.raw.as_ptr()
    }

    /// What events about this queue name.
    pub fn id(&self) -> SrqId {
        SrqId::from_raw(self.raw())
    }

    /// Arms the limit event: raised once fewer than `limit` WQEs are left.
    pub fn arm_limit(&self, limit: u32) -> Result<()> {
        let mut attr = sys::ibv_srq_attr {
            max_wr: 0,
            max_sge: 0,
            srq_limit: limit,
        };
        // SAFETY: The queue is alive; the mask says that only the limit is meant.
        check("ibv_modify_srq", unsafe {
            sys::ibv_modify_srq(self.raw(), &mut attr, sys::IBV_SRQ_LIMIT as i32)
        })
    }

    /// Changes the queue's room to at least `max_wr` WQEs.
    pub fn resize(&self, max_wr: u32) -> Result<()> {
        let mut attr = sys::ibv_srq_attr {
            max_wr,
            max_sge: 0,
            srq_limit: 0,
        };
        // SAFETY: The queue is alive; the mask says that only the room is meant.
        check("ibv_modify_srq", unsafe {
            sys::ibv_modify_srq(self.raw(), &mut attr, sys::IBV_SRQ_MAX_WR as i32)
        })
    }

    /// Posts receives.
    pub fn post_recv(&self, requests: &[RecvRequest<'_>]) -> std::result::Result<(), PostError> {
        let mut chain = RecvChain::new(requests);
        let mut bad = std::ptr::null_mut();
        // SAFETY: The queue and its context are alive, the chain is a valid list during the call:
        // the header's inline ibv_post_srq_recv.
        let returned = unsafe {
            let post = (*(*self.raw()).context)
                .ops
                .post_srq_recv
                .expect("a provider with SRQs posts to them");
            post(self.raw(), chain.head(), &mut bad)
        };
        check("ibv_post_srq_recv", returned).map_err(|error| PostError {
            index: chain.index_of(bad),
            error,
        })
    }
}

impl Drop for Srq<'_> {
    fn drop(&mut self) {
        // SAFETY: Every queue pair on it borrows it and is gone.
        report_leak("ibv_destroy_srq", unsafe {
            sys::ibv_destroy_srq(self.raw())
        });
    }
}
