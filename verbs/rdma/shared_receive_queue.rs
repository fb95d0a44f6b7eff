// SPDX-License-Identifier: GPL-2.0

//! Shared receive queues.

use super::{
    driver::Driver,
    error::unsupported,
    event::SrqEvents,
    object::{
        Object,
        RawObject, //
    },
    protection_domain::Pd,
    user_data::UserData,
    work_request::{
        post_receives,
        ReceiveRequest, //
    }, //
};
use crate::verbs::bindings;
use core::convert::Infallible;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// A shared receive queue.
pub type Srq<D> = Object<bindings::ib_srq, D>;

impl RawObject for bindings::ib_srq {
    type Data<D: Driver> = D::Srq;
    type Events = SrqEvents;
}

/// Size and state of a shared receive queue.
#[derive(Clone, Copy, Debug)]
pub struct SrqAttributes {
    /// Number of receives the queue holds.
    pub max_wr: u32,
    /// Number of scatter elements of a receive.
    pub max_sge: u32,
    /// The user is warned once when fewer receives are left; 0 for never.
    pub limit: u32,
}

/// A change of a shared receive queue.
#[derive(Clone, Copy, Debug)]
pub struct SrqModify {
    /// New number of receives the queue holds.
    pub max_wr: Option<u32>,
    /// New limit.
    pub limit: Option<u32>,
}

/// The driver's part of a shared receive queue; [`Infallible`] for a driver that has none.
pub trait SrqOps<D: Driver>: Sized + Send + Sync {
    /// Whether the driver has shared receive queues.
    const SUPPORTED: bool = true;

    /// Creates a shared receive queue, for a process or (no `user`) for the kernel, with at least
    /// the sizes in `attributes`; [`SrqOps::query`] tells the actual ones.
    fn create(
        pd: &Pd<D>,
        attributes: SrqAttributes,
        events: SrqEvents,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error>;

    /// Size and state.
    fn query(&self) -> SrqAttributes;

    /// Changes size or limit. One call at a time; [`SrqOps::query`] may run meanwhile.
    fn modify(&self, change: SrqModify, user: Option<UserData<'_, D>>) -> Result;

    /// Posts a receive work request of the kernel. May be called in any context.
    fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result;

    /// Ends the queue: no queue pair uses it any more. It is dropped after this.
    fn destroy(&self);
}

impl<D: Driver> SrqOps<D> for Infallible {
    const SUPPORTED: bool = false;

    fn create(
        _pd: &Pd<D>,
        _attributes: SrqAttributes,
        _events: SrqEvents,
        _user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        Err::<Self, Error>(unsupported())
    }

    fn query(&self) -> SrqAttributes {
        match *self {}
    }

    fn modify(&self, _change: SrqModify, _user: Option<UserData<'_, D>>) -> Result {
        match *self {}
    }

    fn post_receive(&self, _request: &ReceiveRequest<'_>) -> Result {
        match *self {}
    }

    fn destroy(&self) {
        match *self {}
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.create_srq` of a device of `D`.
pub(super) unsafe extern "C" fn create_srq<D: Driver>(
    srq: *mut bindings::ib_srq,
    attr: *mut bindings::ib_srq_init_attr,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes valid attributes that are the driver's to update.
        let attr = unsafe { &mut *attr };
        // SAFETY: `ib_core` passes a new queue of `Object::SIZE` bytes with its domain set.
        let pd = unsafe { Pd::<D>::from_raw(&(*srq).pd) };
        // SAFETY: `ib_core` passes the call's `udata`.
        let user = unsafe { UserData::from_raw(&udata) };

        if attr.srq_type != bindings::ib_srq_type_IB_SRQT_BASIC {
            return Err(unsupported());
        }
        // SAFETY: The queue stays valid until `destroy_srq` has revoked its
        // events; if creation fails, that is done below.
        let events = unsafe { SrqEvents::new(srq) }?;
        let wanted = SrqAttributes {
            max_wr: attr.attr.max_wr,
            max_sge: attr.attr.max_sge,
            limit: 0,
        };

        let data = D::Srq::create(pd, wanted, events.clone(), user);
        // SAFETY: As above.
        let result = unsafe { Srq::<D>::init(srq, events.clone(), data) };
        if let Err(error) = result {
            events.revoke();
            return Err(error);
        }
        // SAFETY: The queue has just been initialised.
        let actual = unsafe { Srq::<D>::from_raw(&srq) }.query();
        attr.attr.max_wr = actual.max_wr;
        attr.attr.max_sge = actual.max_sge;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.modify_srq` of a device of `D`.
pub(super) unsafe extern "C" fn modify_srq<D: Driver>(
    srq: *mut bindings::ib_srq,
    attr: *mut bindings::ib_srq_attr,
    mask: bindings::ib_srq_attr_mask,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue, valid attributes, and the call's `udata`.
        let (this, attr, user) =
            unsafe { (Srq::<D>::from_raw(&srq), &*attr, UserData::from_raw(&udata)) };
        let selected = |bit, value| (mask & bit != 0).then_some(value);

        let _changing = this.lock_changes();
        this.modify(
            SrqModify {
                max_wr: selected(bindings::ib_srq_attr_mask_IB_SRQ_MAX_WR, attr.max_wr),
                limit: selected(bindings::ib_srq_attr_mask_IB_SRQ_LIMIT, attr.srq_limit),
            },
            user,
        )?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_srq` of a device of `D`.
pub(super) unsafe extern "C" fn query_srq<D: Driver>(
    srq: *mut bindings::ib_srq,
    attr: *mut bindings::ib_srq_attr,
) -> c_int {
    // SAFETY: `ib_core` passes an existing queue and attributes to fill in.
    let (this, attr) = unsafe { (Srq::<D>::from_raw(&srq), &mut *attr) };
    let now = this.query();

    attr.max_wr = now.max_wr;
    attr.max_sge = now.max_sge;
    attr.srq_limit = now.limit;
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.destroy_srq` of a device of `D`.
pub(super) unsafe extern "C" fn destroy_srq<D: Driver>(
    srq: *mut bindings::ib_srq,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    // SAFETY: `ib_core` passes a queue that `create_srq` has initialised, and uses it no more.
    unsafe {
        let this = Srq::<D>::from_raw(&srq);

        this.events().revoke();
        this.destroy();
        Srq::<D>::drop_data(srq);
    }
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.post_srq_recv` of a device of `D`.
pub(super) unsafe extern "C" fn post_srq_recv<D: Driver>(
    srq: *mut bindings::ib_srq,
    wr: *const bindings::ib_recv_wr,
    bad_wr: *mut *const bindings::ib_recv_wr,
) -> c_int {
    // SAFETY: `ib_core` passes an existing queue.
    let this = unsafe { Srq::<D>::from_raw(&srq) };
    // SAFETY: `ib_core` passes a list of work requests, and where to report.
    unsafe { post_receives(wr, bad_wr, |request| this.post_receive(request)) }
}
