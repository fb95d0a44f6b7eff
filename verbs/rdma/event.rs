// SPDX-License-Identifier: GPL-2.0

//! Events from a driver to the users of its objects.
//!
//! A driver raises events from wherever it works, on objects whose users may destroy them at the
//! same time. The handles here stop working when the object is destroyed: destruction revokes them,
//! which waits for the callbacks under way.

use crate::{
    base::revocable::CountedRevocable,
    verbs::bindings, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// An object of `ib_core`.
struct Target<R>(NonNull<R>);

// SAFETY: The object is only handed to C functions that may be called from any thread.
unsafe impl<R> Send for Target<R> {}
// SAFETY: As above.
unsafe impl<R> Sync for Target<R> {}

/// Access to an object of `ib_core` that ends when it is revoked.
///
/// # Invariants
///
/// The object is valid until then.
struct Handle<R>(Arc<CountedRevocable<Target<R>>>);

impl<R> Handle<R> {
    /// # Safety
    ///
    /// `object` must be valid until [`Handle::revoke`] returns.
    unsafe fn new(object: *mut R) -> Result<Self> {
        let object = Target(NonNull::new(object).ok_or(EINVAL)?);

        // INVARIANT: By the requirements of this function.
        Arc::pin_init(CountedRevocable::new(object), GFP_KERNEL_ACCOUNT).map(Self)
    }

    /// Calls `call` with the object, unless access has ended. The object is valid during the call.
    fn with(&self, call: impl FnOnce(*mut R)) {
        if let Some(object) = self.0.try_access() {
            call(object.0.as_ptr());
        }
    }

    /// Ends access to the object, after the calls under way. May sleep.
    fn revoke(&self) {
        self.0.revoke();
    }
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn event(
    device: *mut bindings::ib_device,
    event: bindings::ib_event_type,
    element: bindings::ib_event__bindgen_ty_1,
) -> bindings::ib_event {
    bindings::ib_event {
        device,
        element,
        event,
    }
}

/// Raises the events of a completion queue.
///
/// Clones are cheap and may outlive the queue, after which they do nothing. May be used in atomic
/// context.
#[derive(Clone)]
pub struct CqEvents(Handle<bindings::ib_cq>);

impl CqEvents {
    /// # Safety
    ///
    /// `cq` must be valid until [`Self::revoke`] returns.
    pub(super) unsafe fn new(cq: *mut bindings::ib_cq) -> Result<Self> {
        // SAFETY: By the requirements of this function.
        unsafe { Handle::new(cq) }.map(Self)
    }

    /// Ends the events, after those under way. May sleep.
    pub(super) fn revoke(&self) {
        self.0.revoke();
    }

    /// Tells the user that a completion it asked to be notified of has been added.
    pub fn completion(&self) {
        self.0.with(|cq| {
            // SAFETY: `cq` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                if let Some(handler) = (*cq).comp_handler {
                    handler(cq, (*cq).cq_context);
                }
            }
        });
    }

    /// Tells the user that the queue has overrun and lost completions (IBTA 11.6.3).
    pub fn error(&self) {
        self.0.with(|cq| {
            // SAFETY: As in `completion`.
            unsafe {
                if let Some(handler) = (*cq).event_handler {
                    let mut event = event(
                        (*cq).device,
                        bindings::ib_event_type_IB_EVENT_CQ_ERR,
                        bindings::ib_event__bindgen_ty_1 { cq },
                    );
                    handler(&mut event, (*cq).cq_context);
                }
            }
        });
    }
}

/// An asynchronous event of a queue pair (IBTA 11.6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QpAsyncEvent {
    /// The queue pair cannot report an error by a completion.
    Fatal,
    /// The responder got an invalid request.
    RequestError,
    /// The responder refused a request that violates access rights.
    AccessError,
    /// A message has arrived before the queue pair was ready to send.
    CommunicationEstablished,
    /// All work requests posted before the queue pair was told to drain are complete.
    SendQueueDrained,
    /// The queue pair takes no more receives from its shared receive queue.
    LastWqeReached,
}

impl QpAsyncEvent {
    fn into_raw(self) -> bindings::ib_event_type {
        match self {
            Self::Fatal => bindings::ib_event_type_IB_EVENT_QP_FATAL,
            Self::RequestError => bindings::ib_event_type_IB_EVENT_QP_REQ_ERR,
            Self::AccessError => bindings::ib_event_type_IB_EVENT_QP_ACCESS_ERR,
            Self::CommunicationEstablished => bindings::ib_event_type_IB_EVENT_COMM_EST,
            Self::SendQueueDrained => bindings::ib_event_type_IB_EVENT_SQ_DRAINED,
            Self::LastWqeReached => bindings::ib_event_type_IB_EVENT_QP_LAST_WQE_REACHED,
        }
    }
}

/// Raises the events of a queue pair. See [`CqEvents`].
#[derive(Clone)]
pub struct QpEvents(Handle<bindings::ib_qp>);

impl QpEvents {
    /// # Safety
    ///
    /// `qp` must be valid until [`Self::revoke`] returns.
    pub(super) unsafe fn new(qp: *mut bindings::ib_qp) -> Result<Self> {
        // SAFETY: By the requirements of this function.
        unsafe { Handle::new(qp) }.map(Self)
    }

    /// Ends the events, after those under way. May sleep.
    pub(super) fn revoke(&self) {
        self.0.revoke();
    }

    /// Tells the user of `what`.
    pub fn raise(&self, what: QpAsyncEvent) {
        self.0.with(|qp| {
            // SAFETY: `qp` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                if let Some(handler) = (*qp).event_handler {
                    let mut event = event(
                        (*qp).device,
                        what.into_raw(),
                        bindings::ib_event__bindgen_ty_1 { qp },
                    );
                    handler(&mut event, (*qp).qp_context);
                }
            }
        });
    }
}

/// Raises the events of a shared receive queue. See [`CqEvents`].
#[derive(Clone)]
pub struct SrqEvents(Handle<bindings::ib_srq>);

impl SrqEvents {
    /// # Safety
    ///
    /// `srq` must be valid until [`Self::revoke`] returns.
    pub(super) unsafe fn new(srq: *mut bindings::ib_srq) -> Result<Self> {
        // SAFETY: By the requirements of this function.
        unsafe { Handle::new(srq) }.map(Self)
    }

    /// Ends the events, after those under way. May sleep.
    pub(super) fn revoke(&self) {
        self.0.revoke();
    }

    /// Tells the user that fewer receives are left than it asked to be warned of.
    pub fn limit_reached(&self) {
        self.raise(bindings::ib_event_type_IB_EVENT_SRQ_LIMIT_REACHED);
    }

    /// Tells the user that the queue cannot be used any more.
    pub fn error(&self) {
        self.raise(bindings::ib_event_type_IB_EVENT_SRQ_ERR);
    }

    fn raise(&self, what: bindings::ib_event_type) {
        self.0.with(|srq| {
            // SAFETY: `srq` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                if let Some(handler) = (*srq).event_handler {
                    let mut event = event(
                        (*srq).device,
                        what,
                        bindings::ib_event__bindgen_ty_1 { srq },
                    );
                    handler(&mut event, (*srq).srq_context);
                }
            }
        });
    }
}

/// An event of a port (IBTA 11.6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortEvent {
    /// The port can be used.
    Active,
    /// The port cannot be used any more.
    Error,
    /// The port has another speed.
    SpeedChange,
}

impl PortEvent {
    pub(super) fn into_raw(self) -> bindings::ib_event_type {
        match self {
            Self::Active => bindings::ib_event_type_IB_EVENT_PORT_ACTIVE,
            Self::Error => bindings::ib_event_type_IB_EVENT_PORT_ERR,
            Self::SpeedChange => bindings::ib_event_type_IB_EVENT_DEVICE_SPEED_CHANGE,
        }
    }
}
