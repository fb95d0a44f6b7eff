// SPDX-License-Identifier: GPL-2.0

//! Queue pairs.

use super::{
    completion_queue::Cq,
    driver::Driver,
    error::unsupported,
    event::QpEvents,
    gid::Gid,
    object::{
        Object,
        RawObject, //
    },
    protection_domain::Pd,
    queue_pair_attributes::{
        QpAttributes,
        QpCap,
        QpModify,
        QpType, //
    },
    shared_receive_queue::Srq,
    user_data::UserData,
    work_completion::QpReference,
    work_request::{
        post_receives,
        ReceiveRequest,
        RequestKind,
        SendRequest, //
    }, //
};
use crate::verbs::bindings;
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};
use pin_init::PinInit;

/// A queue pair.
pub type Qp<D> = Object<bindings::ib_qp, D>;

impl RawObject for bindings::ib_qp {
    type Data<D: Driver> = D::Qp;
    type Events = QpEvents;
}

/// Which send work requests are completed with a completion queue entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignalType {
    /// All work requests.
    All,
    /// Work requests that ask for it.
    Requested,
}

/// What the user asks of a new queue pair.
pub struct QpInit<'a, D: Driver> {
    /// Transport service.
    pub qp_type: QpType,
    /// The least sizes that will do.
    pub cap: QpCap,
    /// Which send work requests are completed with a completion queue entry.
    pub signalling: SignalType,
    /// Where send work requests complete.
    pub send_cq: &'a Cq<D>,
    /// Where receives complete.
    pub recv_cq: &'a Cq<D>,
    /// Where receives come from instead of the queue pair's own queue.
    pub srq: Option<&'a Srq<D>>,
    /// What its completions name it by.
    pub reference: QpReference,
}

/// The driver's part of a queue pair.
pub trait QpOps<D: Driver>: Sized + Send + Sync {
    /// Creates a queue pair, for a process or (no `user`) for the kernel.
    fn create(
        pd: &Pd<D>,
        init: QpInit<'_, D>,
        events: QpEvents,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error>;

    /// Number of the queue pair, 24 bits, unique on the device.
    fn number(&self) -> u32;

    /// The actual sizes.
    fn cap(&self) -> QpCap;

    /// Which send work requests are completed with a completion queue entry.
    fn signalling(&self) -> SignalType;

    /// Changes state and attributes. One call at a time; [`QpOps::query`] and [`QpOps::ring_doorbell`] may run
    /// meanwhile.
    fn modify(&self, change: QpModify<'_>, user: Option<UserData<'_, D>>) -> Result;

    /// Tells state and attributes.
    fn query(&self) -> Result<QpAttributes>;

    /// A process has put work requests into the send queue that it shares with the driver.
    fn ring_doorbell(&self) -> Result;

    /// Posts a send work request of the kernel. May be called in any context.
    fn post_send(&self, request: &SendRequest<'_, D>) -> Result;

    /// Posts a receive work request of the kernel. May be called in any context.
    fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result;

    /// Adds the queue pair, which is one of unreliable datagrams, to a multicast group.
    fn attach_multicast(&self, group: Gid) -> Result;

    /// Takes it out of the group.
    fn detach_multicast(&self, group: Gid) -> Result;

    /// Ends the queue pair: nobody uses it any more. It is dropped after this.
    fn destroy(&self);
}

impl<D: Driver> Qp<D> {
    /// What requests it takes.
    fn request_kind(&self) -> RequestKind {
        // SAFETY: The queue pair is valid by the type's invariants; the member does not change.
        match unsafe { (*self.as_raw()).qp_type } {
            bindings::ib_qp_type_IB_QPT_UD | bindings::ib_qp_type_IB_QPT_GSI => {
                RequestKind::Datagram
            }
            _ => RequestKind::Connected,
        }
    }

    /// Whether the queue pair belongs to a process.
    fn is_user(&self) -> bool {
        // SAFETY: The queue pair is valid by the type's invariants; the member does not change.
        unsafe { !(*self.as_raw()).uobject.is_null() }
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.create_qp` of a device of `D`.
pub(super) unsafe extern "C" fn create_qp<D: Driver>(
    qp: *mut bindings::ib_qp,
    attr: *mut bindings::ib_qp_init_attr,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes valid attributes that are the driver's to update.
        let attr = unsafe { &mut *attr };
        // SAFETY: `ib_core` passes a new queue pair of `Object::SIZE` bytes with its domain set.
        let pd = unsafe { Pd::<D>::from_raw(&(*qp).pd) };
        // SAFETY: `ib_core` passes the call's `udata`.
        let user = unsafe { UserData::from_raw(&udata) };

        if attr.create_flags != 0 || !attr.rwq_ind_tbl.is_null() {
            return Err(unsupported());
        }
        let qp_type = QpType::from_raw(attr.qp_type)?;
        if attr.send_cq.is_null() || attr.recv_cq.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The queues are not null, and `ib_core` holds them until the queue pair is gone.
        let (send_cq, recv_cq) =
            unsafe { (Cq::from_raw(&attr.send_cq), Cq::from_raw(&attr.recv_cq)) };
        // SAFETY: As above.
        let srq = (!attr.srq.is_null()).then(|| unsafe { Srq::from_raw(&attr.srq) });
        let init = QpInit {
            qp_type,
            cap: QpCap::from_raw(&attr.cap),
            signalling: match attr.sq_sig_type {
                bindings::ib_sig_type_IB_SIGNAL_ALL_WR => SignalType::All,
                _ => SignalType::Requested,
            },
            send_cq,
            recv_cq,
            srq,
            reference: QpReference::new(qp),
        };
        // SAFETY: The queue pair stays valid until `destroy_qp` has revoked its
        // events; if creation fails, that is done below.
        let events = unsafe { QpEvents::new(qp) }?;

        let data = D::Qp::create(pd, init, events.clone(), user);
        // SAFETY: As above.
        let result = unsafe { Qp::<D>::init(qp, events.clone(), data) };
        if let Err(error) = result {
            events.revoke();
            return Err(error);
        }
        // SAFETY: The queue pair has just been initialised, and nobody else knows it.
        unsafe {
            let this = Qp::<D>::from_raw(&qp);

            (*qp).qp_num = this.number();
            attr.cap = this.cap().into_raw();
        }
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.modify_qp` of a device of `D`.
pub(super) unsafe extern "C" fn modify_qp<D: Driver>(
    qp: *mut bindings::ib_qp,
    attr: *mut bindings::ib_qp_attr,
    mask: c_int,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue pair and the call's `udata`.
        let (this, user) = unsafe { (Qp::<D>::from_raw(&qp), UserData::from_raw(&udata)) };
        let mask = bindings::ib_qp_attr_mask::from_ne_bytes(mask.to_ne_bytes());
        // SAFETY: `ib_core` passes valid attributes and holds the entries of the GID table in it.
        let change = unsafe { QpModify::from_raw(&*attr, mask) }?;

        let _changing = this.lock_changes();
        this.modify(change, user)?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_qp` of a device of `D`.
pub(super) unsafe extern "C" fn query_qp<D: Driver>(
    qp: *mut bindings::ib_qp,
    attr: *mut bindings::ib_qp_attr,
    _mask: c_int,
    init: *mut bindings::ib_qp_init_attr,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue pair.
        let this = unsafe { Qp::<D>::from_raw(&qp) };
        let now = this.query()?;

        // SAFETY: `ib_core` passes attributes to fill in; the members of the queue pair that are
        // read do not change.
        unsafe {
            let qp = &raw const *qp;

            *attr = now.into_raw();
            (*init).qp_context = (*qp).qp_context;
            (*init).send_cq = (*qp).send_cq;
            (*init).recv_cq = (*qp).recv_cq;
            (*init).srq = (*qp).srq;
            (*init).qp_type = (*qp).qp_type;
            (*init).cap = now.cap.into_raw();
            (*init).sq_sig_type = match this.signalling() {
                SignalType::All => bindings::ib_sig_type_IB_SIGNAL_ALL_WR,
                SignalType::Requested => bindings::ib_sig_type_IB_SIGNAL_REQ_WR,
            };
        }
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.destroy_qp` of a device of `D`.
pub(super) unsafe extern "C" fn destroy_qp<D: Driver>(
    qp: *mut bindings::ib_qp,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    // SAFETY: `ib_core` passes a queue pair that `create_qp` has initialised, and uses it no more.
    unsafe {
        let this = Qp::<D>::from_raw(&qp);

        this.events().revoke();
        this.destroy();
        Qp::<D>::drop_data(qp);
    }
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.attach_mcast` of a device of `D`.
pub(super) unsafe extern "C" fn attach_mcast<D: Driver>(
    qp: *mut bindings::ib_qp,
    group: *mut bindings::ib_gid,
    _lid: u16,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue pair of unreliable datagrams and the group's identifier.
        let (this, group) = unsafe { (Qp::<D>::from_raw(&qp), Gid::from_raw(&*group)) };
        this.attach_multicast(group)?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.detach_mcast` of a device of `D`.
pub(super) unsafe extern "C" fn detach_mcast<D: Driver>(
    qp: *mut bindings::ib_qp,
    group: *mut bindings::ib_gid,
    _lid: u16,
) -> c_int {
    from_result(|| {
        // SAFETY: As for `attach_mcast`.
        let (this, group) = unsafe { (Qp::<D>::from_raw(&qp), Gid::from_raw(&*group)) };
        this.detach_multicast(group)?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.post_send` of a device of `D`.
pub(super) unsafe extern "C" fn post_send<D: Driver>(
    qp: *mut bindings::ib_qp,
    wr: *const bindings::ib_send_wr,
    bad_wr: *mut *const bindings::ib_send_wr,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue pair.
        let this = unsafe { Qp::<D>::from_raw(&qp) };

        if !this.is_user() {
            let kind = this.request_kind();
            let mut next = wr;
            // SAFETY: `ib_core` passes a list of work requests, each of the kind that goes with the queue pair.
            while let Some(raw) = unsafe { next.as_ref() } {
                // SAFETY: As above.
                let request = unsafe { SendRequest::from_raw(raw, kind) };
                this.post_send(&request).inspect_err(|_| {
                    // SAFETY: `ib_core` passes where to report the work request that was not posted.
                    unsafe { *bad_wr = next };
                })?;
                next = raw.next;
            }
            return Ok(0);
        }
        // The work requests of a process are in the queue that it shares with the driver.
        if !wr.is_null() {
            // SAFETY: As above.
            unsafe { *bad_wr = wr };
            return Err(unsupported());
        }
        this.ring_doorbell()?;
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.post_recv` of a device of `D`.
pub(super) unsafe extern "C" fn post_recv<D: Driver>(
    qp: *mut bindings::ib_qp,
    wr: *const bindings::ib_recv_wr,
    bad_wr: *mut *const bindings::ib_recv_wr,
) -> c_int {
    // SAFETY: `ib_core` passes an existing queue pair.
    let this = unsafe { Qp::<D>::from_raw(&qp) };
    let post = |request: &ReceiveRequest<'_>| {
        if this.is_user() {
            Err(unsupported())
        } else {
            this.post_receive(request)
        }
    };
    // SAFETY: `ib_core` passes a list of work requests, and where to report.
    unsafe { post_receives(wr, bad_wr, post) }
}
