// SPDX-License-Identifier: GPL-2.0

//! Completion queues.

use super::{
    device::Device,
    driver::Driver,
    error::unsupported,
    event::CqEvents,
    object::{
        Object,
        RawObject, //
    },
    user_data::UserData,
    work_completion::WorkCompletion, //
};
use crate::verbs::bindings;
use core::ptr::addr_of_mut;
use kernel::{
    error::from_result,
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*, //
};
use pin_init::PinInit;

/// A completion queue.
pub type Cq<D> = Object<bindings::ib_cq, D>;

impl RawObject for bindings::ib_cq {
    type Data<D: Driver> = D::Cq;
    type Events = CqEvents;
}

/// What the user asks of a new completion queue.
#[derive(Clone, Copy, Debug)]
pub struct CqInit {
    /// Number of completions the queue must hold, at least 1.
    pub capacity: u32,
    /// Completion vector, less than the device's number of vectors.
    pub comp_vector: u32,
}

/// Which completion the user wants to be notified of next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notify {
    /// Any.
    Any,
    /// One of a solicited message, or one that reports an error.
    Solicited,
}

/// Whether completions were in the queue already when notification was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissedCompletions {
    /// No completion was.
    No,
    /// Some were: the user should poll again, because no notification will come for these.
    Yes,
}

/// The driver's part of a completion queue.
#[vtable]
pub trait CqOps<D: Driver>: Sized + Send + Sync {
    /// Creates a completion queue, for a process or (no `user`) for the kernel.
    fn create(
        device: &Device<D>,
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error>;

    /// Number of completions the queue can hold.
    fn capacity(&self) -> u32;

    /// Takes the oldest completion away, of a queue that is the kernel's. May be called in any context.
    fn poll(&self) -> Option<WorkCompletion>;

    /// Asks for a notification. May be called in any context.
    fn request_notify(&self, notify: Notify) -> Result<MissedCompletions>;

    /// Changes the number of completions the queue can hold to `capacity` or more. One call at a time.
    fn resize(&self, _capacity: u32, _user: UserData<'_, D>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Ends the completion queue: no queue pair uses it any more. It is dropped after this.
    fn destroy(&self);
}

impl<D: Driver> Cq<D> {
    /// The device of this queue.
    pub fn device(&self) -> &Device<D> {
        // SAFETY: The queue is valid by the type's invariants, so its device exists.
        unsafe { Device::from_raw(&(*self.as_raw()).device) }
    }

    /// Tells `ib_core` the capacity. To be called when nobody else can change it.
    fn publish_capacity(&self) {
        let capacity = self.capacity().try_into().unwrap_or(c_int::MAX);

        // SAFETY: The queue is valid by the type's invariants, and the callers exclude each other.
        // `ib_core` reads the member at any time, and copes with the old value as with the new one; it is
        // written at once.
        unsafe { addr_of_mut!((*self.as_raw()).cqe).write_volatile(capacity) };
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.create_cq` of a device of `D`.
pub(super) unsafe extern "C" fn create_cq<D: Driver>(
    cq: *mut bindings::ib_cq,
    attr: *const bindings::ib_cq_init_attr,
    attrs: *mut bindings::uverbs_attr_bundle,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes valid attributes.
        let attr = unsafe { &*attr };
        // SAFETY: `ib_core` passes a new queue of `Object::SIZE` bytes with its device set.
        let device = unsafe { Device::<D>::from_raw(&(*cq).device) };
        // SAFETY: `ib_core` passes the bundle of the call, or null.
        let udata = unsafe { bindings::rdma_shim_bundle_udata(attrs) };
        // SAFETY: As above.
        let user = unsafe { UserData::from_raw(&udata) };

        if attr.flags != 0 {
            return Err(unsupported());
        }
        // SAFETY: The queue stays valid until `destroy_cq` has revoked its
        // events; if creation fails, that is done below.
        let events = unsafe { CqEvents::new(cq) }?;
        let init = CqInit {
            capacity: attr.cqe,
            comp_vector: attr.comp_vector,
        };

        let data = D::Cq::create(device, init, events.clone(), user);
        // SAFETY: As above.
        let result = unsafe { Cq::<D>::init(cq, events.clone(), data) };
        if let Err(error) = result {
            events.revoke();
            return Err(error);
        }
        // SAFETY: The queue has just been initialised.
        unsafe { Cq::<D>::from_raw(&cq) }.publish_capacity();
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.destroy_cq` of a device of `D`.
pub(super) unsafe extern "C" fn destroy_cq<D: Driver>(
    cq: *mut bindings::ib_cq,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    // SAFETY: `ib_core` passes a queue that `create_cq` has initialised, and uses it no more.
    unsafe {
        let this = Cq::<D>::from_raw(&cq);

        this.events().revoke();
        this.destroy();
        Cq::<D>::drop_data(cq);
    }
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.resize_user_cq` of a device of `D`.
pub(super) unsafe extern "C" fn resize_user_cq<D: Driver>(
    cq: *mut bindings::ib_cq,
    cqe: c_uint,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue and the call's `udata`.
        let (this, user) = unsafe { (Cq::<D>::from_raw(&cq), UserData::from_raw(&udata)) };

        let _changing = this.lock_changes();
        this.resize(cqe, user.ok_or(EINVAL)?)?;
        this.publish_capacity();
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.req_notify_cq` of a device of `D`.
pub(super) unsafe extern "C" fn req_notify_cq<D: Driver>(
    cq: *mut bindings::ib_cq,
    flags: bindings::ib_cq_notify_flags,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes an existing queue.
        let this = unsafe { Cq::<D>::from_raw(&cq) };
        let notify = match flags & bindings::ib_cq_notify_flags_IB_CQ_SOLICITED_MASK {
            bindings::ib_cq_notify_flags_IB_CQ_SOLICITED => Notify::Solicited,
            _ => Notify::Any,
        };
        let missed = this.request_notify(notify)?;
        let report = flags & bindings::ib_cq_notify_flags_IB_CQ_REPORT_MISSED_EVENTS != 0;

        Ok(c_int::from(report && missed == MissedCompletions::Yes))
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.poll_cq` of a device of `D`.
pub(super) unsafe extern "C" fn poll_cq<D: Driver>(
    cq: *mut bindings::ib_cq,
    wanted: c_int,
    completions: *mut bindings::ib_wc,
) -> c_int {
    // SAFETY: `ib_core` passes an existing queue.
    let this = unsafe { Cq::<D>::from_raw(&cq) };
    let mut found = 0;
    while found < wanted {
        let Some(completion) = this.poll() else {
            break;
        };
        // SAFETY: `ib_core` passes room for `wanted` completions, which is more than have been found.
        unsafe { completions.add(found as usize).write(completion.into_raw()) };
        found += 1;
    }
    found
}
