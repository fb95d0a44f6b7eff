// SPDX-License-Identifier: GPL-2.0

//! Events from a driver to the users of its objects.
//!
//! A driver raises events from wherever it works, on objects whose users may destroy them at the
//! same time. The handles here stop working when the object is destroyed: destruction closes the
//! handle's [`Gate`] and waits for the callbacks under way.

use crate::verbs::bindings;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Completion, //
    },
};

/// Access to an object of `ib_core` that ends when the gate is closed.
///
/// # Invariants
///
/// While `users` is not zero, `object` is valid. `users` counts the calls under way, and one more
/// until the gate is closed; it never rises from zero.
#[pin_data]
pub(super) struct Gate<R> {
    object: NonNull<R>,
    users: Atomic<i32>,
    #[pin]
    closed: Completion,
}

// SAFETY: The object is only handed to C functions that may be called from any thread.
unsafe impl<R> Send for Gate<R> {}
// SAFETY: As above.
unsafe impl<R> Sync for Gate<R> {}

impl<R> Gate<R> {
    /// # Safety
    ///
    /// `object` must be valid until [`Gate::close`] returns, or the gate is dropped with no clone
    /// left.
    pub(super) unsafe fn new(object: NonNull<R>) -> Result<Arc<Self>> {
        // INVARIANT: `users` is one for the gate not being closed; `object` is valid by the
        // requirements of this function.
        Arc::pin_init(
            pin_init!(Self {
                object,
                users: Atomic::new(1),
                closed <- Completion::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Calls `call` with the object, unless the gate is closed.
    fn enter(&self, call: impl FnOnce(NonNull<R>)) {
        let mut users = self.users.load(ordering::Relaxed);
        loop {
            if users == 0 {
                return;
            }
            match self.users.cmpxchg(users, users + 1, ordering::Acquire) {
                Ok(_) => break,
                Err(now) => users = now,
            }
        }
        call(self.object);
        self.leave();
    }

    fn leave(&self) {
        if self.users.fetch_sub(1, ordering::Full) == 1 {
            self.closed.complete_all();
        }
    }

    /// Ends access to the object, after the calls under way. To be called once. May sleep.
    pub(super) fn close(&self) {
        self.leave();
        self.closed.wait_for_completion();
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
pub struct CqEvents(Arc<Gate<bindings::ib_cq>>);

impl CqEvents {
    pub(super) fn new(gate: Arc<Gate<bindings::ib_cq>>) -> Self {
        Self(gate)
    }

    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Tells the user that a completion it asked to be notified of has been added.
    pub fn completion(&self) {
        self.0.enter(|cq| {
            // SAFETY: `cq` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                let cq = cq.as_ptr();
                if let Some(handler) = (*cq).comp_handler {
                    handler(cq, (*cq).cq_context);
                }
            }
        });
    }

    /// Tells the user that the queue has overrun and lost completions (IBTA 11.6.3.1).
    pub fn error(&self) {
        self.0.enter(|cq| {
            // SAFETY: As in `completion`.
            unsafe {
                let cq = cq.as_ptr();
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
pub enum QpEvent {
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

impl QpEvent {
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
pub struct QpEvents(Arc<Gate<bindings::ib_qp>>);

impl QpEvents {
    pub(super) fn new(gate: Arc<Gate<bindings::ib_qp>>) -> Self {
        Self(gate)
    }

    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Tells the user of `what`.
    pub fn raise(&self, what: QpEvent) {
        self.0.enter(|qp| {
            // SAFETY: `qp` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                let qp = qp.as_ptr();
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
pub struct SrqEvents(Arc<Gate<bindings::ib_srq>>);

impl SrqEvents {
    pub(super) fn new(gate: Arc<Gate<bindings::ib_srq>>) -> Self {
        Self(gate)
    }

    pub(super) fn close(&self) {
        self.0.close();
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
        self.0.enter(|srq| {
            // SAFETY: `srq` is valid for this call, and its handler and context were set before it
            // was created and do not change.
            unsafe {
                let srq = srq.as_ptr();
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
