// SPDX-License-Identifier: GPL-2.0

//! Queue pairs.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::PostError;
use super::error::Result;
use super::extended;
use super::sys;
use super::work_request::RecvChain;
use super::work_request::SendChain;
use super::Ah;
use super::Cq;
use super::Gid;
use super::Pd;
use super::Posting;
use super::Psn;
use super::QpAttr;
use super::QpState;
use super::Qpn;
use super::RecvRequest;
use super::SendRequest;
use super::Srq;

/// The sizes of a queue pair's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QpCapacity {
    /// WQEs in the send queue.
    pub send_wr: u32,
    /// WQEs in the receive queue.
    pub recv_wr: u32,
    /// Elements in a send WQE.
    pub send_sge: u32,
    /// Elements in a receive WQE.
    pub recv_sge: u32,
    /// Bytes that a send WQE can carry itself.
    pub inline: u32,
}

/// What a queue pair is made of. Each request says for itself whether it is signalled.
pub struct QpInit<'a> {
    /// Where send completions go.
    pub send_cq: &'a Cq<'a>,
    /// Where receive completions go.
    pub recv_cq: &'a Cq<'a>,
    /// The shared receive queue in place of an own one.
    pub srq: Option<&'a Srq<'a>>,
    /// Sizes to ask for.
    pub capacity: QpCapacity,
}

/// What the device reports of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QpReport {
    /// Its state.
    pub state: QpState,
    /// The number of the next packet that is sent.
    pub send_psn: Psn,
    /// The number of the next packet that is received.
    pub receive_psn: Psn,
    /// In SQD: whether requests that have begun are still being carried out.
    pub is_draining: bool,
}

/// The service of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QpType {
    /// Reliable connection.
    Reliable,
    /// Unreliable connection.
    Unreliable,
    /// Unreliable datagrams.
    Datagrams,
}

impl QpType {
    fn to_raw(self) -> sys::ibv_qp_type {
        match self {
            Self::Reliable => sys::IBV_QPT_RC,
            Self::Unreliable => sys::IBV_QPT_UC,
            Self::Datagrams => sys::IBV_QPT_UD,
        }
    }
}

/// Who gets a datagram.
#[derive(Clone, Copy)]
pub struct DatagramTarget<'a> {
    /// Where it is.
    pub handle: &'a Ah<'a>,
    /// The queue pair.
    pub qpn: Qpn,
    /// Its queue key.
    pub qkey: u32,
}

/// A queue pair.
pub struct Qp<'a> {
    raw: NonNull<sys::ibv_qp>,
    posting: Posting,
    capacity: QpCapacity,
    parts: PhantomData<(&'a Pd<'a>, &'a Cq<'a>, &'a Srq<'a>)>,
}

impl<'a> Qp<'a> {
    /// Makes an RC queue pair, in RESET.
    pub fn new(pd: &'a Pd<'_>, init: &QpInit<'a>) -> Result<Self> {
        Self::of_type(pd, init, QpType::Reliable)
    }

    /// Makes a queue pair of this type, in RESET.
    pub fn of_type(pd: &'a Pd<'_>, init: &QpInit<'a>, qp_type: QpType) -> Result<Self> {
        Self::make(pd, init, qp_type, Posting::Lists)
    }

    /// Makes a queue pair for datagrams, in RESET.
    pub fn for_datagrams(pd: &'a Pd<'_>, init: &QpInit<'a>) -> Result<Self> {
        Self::of_type(pd, init, QpType::Datagrams)
    }

    /// Makes an RC queue pair, in RESET, whose send requests are posted in this way.
    pub fn with_posting(pd: &'a Pd<'_>, init: &QpInit<'a>, posting: Posting) -> Result<Self> {
        Self::make(pd, init, QpType::Reliable, posting)
    }

    fn make(pd: &'a Pd<'_>, init: &QpInit<'a>, qp_type: QpType, posting: Posting) -> Result<Self> {
        // SAFETY: ibv_qp_init_attr is integers and raw pointers; zeroes are a valid value.
        let mut attr: sys::ibv_qp_init_attr = unsafe { std::mem::zeroed() };
        attr.send_cq = init.send_cq.raw();
        attr.recv_cq = init.recv_cq.raw();
        attr.srq = init.srq.map_or(std::ptr::null_mut(), Srq::raw);
        attr.qp_type = qp_type.to_raw();
        attr.cap.max_send_wr = init.capacity.send_wr;
        attr.cap.max_recv_wr = init.capacity.recv_wr;
        attr.cap.max_send_sge = init.capacity.send_sge;
        attr.cap.max_recv_sge = init.capacity.recv_sge;
        attr.cap.max_inline_data = init.capacity.inline;
        // SAFETY: Domain and queues are alive and borrowed for as long as the queue pair.
        let raw = unsafe {
            match posting {
                Posting::Lists => sys::ibv_create_qp(pd.raw(), &mut attr),
                Posting::Calls => match NonNull::new(pd.raw()) {
                    Some(pd) => extended::create(pd, &mut attr),
                    None => std::ptr::null_mut(),
                },
            }
        };
        let raw = NonNull::new(raw).ok_or_else(|| Error::last("ibv_create_qp"))?;
        Ok(Self {
            raw,
            posting,
            capacity: QpCapacity {
                send_wr: attr.cap.max_send_wr,
                recv_wr: attr.cap.max_recv_wr,
                send_sge: attr.cap.max_send_sge,
                recv_sge: attr.cap.max_recv_sge,
                inline: attr.cap.max_inline_data,
            },
            parts: PhantomData,
        })
    }

    /// The queue pair's number.
    pub fn qpn(&self) -> Qpn {
        // SAFETY: The queue pair is alive; the field is set when it is made.
        Qpn(unsafe { self.raw.as_ref().qp_num })
    }

    /// The sizes granted, at least those asked for.
    pub fn capacity(&self) -> QpCapacity {
        self.capacity
    }

    /// Changes attributes.
    pub fn modify(&self, attr: QpAttr) -> Result<()> {
        let (mut raw, mask) = attr.to_raw();
        // SAFETY: The queue pair is alive and `raw` holds what the mask says.
        check("ibv_modify_qp", unsafe {
            sys::ibv_modify_qp(self.raw.as_ptr(), &mut raw, mask)
        })
    }

    /// The state that the device reports.
    pub fn state(&self) -> Result<QpState> {
        Ok(self.report()?.state)
    }

    /// What the device reports.
    pub fn report(&self) -> Result<QpReport> {
        // SAFETY: Both structures are integers, raw pointers and a GID; zeroes are valid values.
        let (mut attr, mut init): (sys::ibv_qp_attr, sys::ibv_qp_init_attr) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: The queue pair is alive and both structures are valid for the writes.
        check("ibv_query_qp", unsafe {
            sys::ibv_query_qp(
                self.raw.as_ptr(),
                &mut attr,
                (sys::IBV_QP_STATE | sys::IBV_QP_SQ_PSN | sys::IBV_QP_RQ_PSN) as i32,
                &mut init,
            )
        })?;
        Ok(QpReport {
            state: QpState::from_raw(attr.qp_state),
            send_psn: Psn(attr.sq_psn),
            receive_psn: Psn(attr.rq_psn),
            is_draining: attr.sq_draining != 0,
        })
    }

    /// Posts requests to the send queue, in one call.
    pub fn post_send(&self, requests: &[SendRequest<'_>]) -> std::result::Result<(), PostError> {
        if self.posting == Posting::Calls {
            // SAFETY: The queue pair is alive, and `requests` borrow what they name.
            let returned = unsafe { extended::post(self.raw, requests) };
            // All of them are posted, or none.
            return check("ibv_wr_complete", returned)
                .map_err(|error| PostError { index: 0, error });
        }
        let mut chain = SendChain::new(requests);
        let mut bad = std::ptr::null_mut();
        // SAFETY: The queue pair and its context are alive and the chain is a valid list during
        // the call: the header's inline ibv_post_send. Inline pieces are borrowed by `requests`
        // and copied in the call; other bytes the device reaches through keys only, and every key
        // belongs to an `Mr` that keeps its memory alive.
        let returned = unsafe {
            let post = (*(*self.raw.as_ptr()).context)
                .ops
                .post_send
                .expect("every provider posts");
            post(self.raw.as_ptr(), chain.head(), &mut bad)
        };
        check("ibv_post_send", returned).map_err(|error| PostError {
            index: chain.index_of(bad),
            error,
        })
    }

    /// Posts a datagram.
    pub fn post_datagram(&self, to: &DatagramTarget<'_>, request: SendRequest<'_>) -> Result<()> {
        let mut chain = SendChain::new(&[request]);
        let head = chain.head();
        let mut bad = std::ptr::null_mut();
        // SAFETY: As for `post_send`; the handle is alive during the call.
        let returned = unsafe {
            (*head).wr.ud.ah = to.handle.raw();
            (*head).wr.ud.remote_qpn = to.qpn.0;
            (*head).wr.ud.remote_qkey = to.qkey;
            let post = (*(*self.raw.as_ptr()).context)
                .ops
                .post_send
                .expect("every provider posts");
            post(self.raw.as_ptr(), head, &mut bad)
        };
        check("ibv_post_send", returned)
    }

    /// Joins a multicast group.
    pub fn join(&self, group: Gid) -> Result<()> {
        let raw = sys::ibv_gid { raw: group.0 };
        // SAFETY: The queue pair is alive and the group is valid for the read.
        check("ibv_attach_mcast", unsafe {
            sys::ibv_attach_mcast(self.raw.as_ptr(), &raw, 0)
        })
    }

    /// Leaves a multicast group.
    pub fn leave(&self, group: Gid) -> Result<()> {
        let raw = sys::ibv_gid { raw: group.0 };
        // SAFETY: As for `join`.
        check("ibv_detach_mcast", unsafe {
            sys::ibv_detach_mcast(self.raw.as_ptr(), &raw, 0)
        })
    }

    /// Posts requests to the receive queue, in one call.
    pub fn post_recv(&self, requests: &[RecvRequest<'_>]) -> std::result::Result<(), PostError> {
        let mut chain = RecvChain::new(requests);
        let mut bad = std::ptr::null_mut();
        // SAFETY: As for `post_send`; the header's inline ibv_post_recv.
        let returned = unsafe {
            let post = (*(*self.raw.as_ptr()).context)
                .ops
                .post_recv
                .expect("every provider posts");
            post(self.raw.as_ptr(), chain.head(), &mut bad)
        };
        check("ibv_post_recv", returned).map_err(|error| PostError {
            index: chain.index_of(bad),
            error,
        })
    }

    /// Goes to ERR, which flushes both queues.
    pub fn fail(&self) -> Result<()> {
        self.modify(QpAttr::to_state(QpState::Err))
    }

    /// Destroys, telling of failure.
    pub fn destroy(self) -> Result<()> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `ManuallyDrop` keeps the destructor from doing it a second time.
        check("ibv_destroy_qp", unsafe {
            sys::ibv_destroy_qp(this.raw.as_ptr())
        })
    }
}

impl Drop for Qp<'_> {
    fn drop(&mut self) {
        // SAFETY: Destroyed once; its asynchronous events were acknowledged when taken.
        report_leak("ibv_destroy_qp", unsafe {
            sys::ibv_destroy_qp(self.raw.as_ptr())
        });
    }
}
