// SPDX-License-Identifier: GPL-2.0

//! Completion queues.

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

use super::abi::completion::Completion;
use super::abi::completion::CQE_SIZE;
use super::abi::limits::MAX_CQE;
use super::device::RoceDevice;
use super::mmap_offer::OfferedQueue;
use super::queue::EventQueue;
use super::queue::Overflow;
use super::queue::Remainder;
use super::quota::Place;
use super::rdma::unsupported;
use super::rdma::CqEvents;
use super::rdma::CqInit;
use super::rdma::CqOps;
use super::rdma::Device;
use super::rdma::MissedCompletions;
use super::rdma::Notify;
use super::rdma::UserData;
use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;

/// What has to happen for the next completion event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    /// Nothing causes one.
    No,
    /// A solicited completion, or one in error.
    Solicited,
    /// Any completion.
    Any,
}

/// What becomes of a completion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// It goes into the ring.
    Working,
    /// It is lost: the ring overflowed, and the process was told. The queue stays unusable, and so does each
    /// QP that has something to tell by it (IBTA 11.6.3.1, 11.6.3.2).
    Overflowed,
    /// Nobody is there any more to whom it or an event could go.
    Destroyed,
}

struct State {
    ring: EventQueue,
    armed: Armed,
    condition: Condition,
}

/// A ring of completions in shared memory, and the events that announce them.
///
/// # Locking
///
/// Its lock is innermost among the verbs objects': it is taken with the lock of a QP held.
#[pin_data]
pub(crate) struct CompletionQueue {
    events: CqEvents,
    #[pin]
    state: SpinLock<State>,
    /// Taken alone.
    #[pin]
    offer: Mutex<OfferedQueue>,
}

impl CompletionQueue {
    fn ring(entries: u32) -> Result<EventQueue> {
        if !(1..=MAX_CQE).contains(&entries) {
            return Err(EINVAL);
        }
        EventQueue::new(entries, CQE_SIZE)
    }

    fn build(
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> Result<Arc<Self>> {
        let user = user.ok_or_else(unsupported)?;
        let ring = Self::ring(init.capacity)?;
        let offer = Self::offer(&ring, &user)?;
        Arc::pin_init(
            pin_init!(Self {
                events,
                state <- new_spinlock!(State {
                    ring,
                    armed: Armed::No,
                    condition: Condition::Working,
                }),
                offer <- new_mutex!(offer),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Offers a new ring to the process and tells it.
    fn offer(ring: &EventQueue, user: &UserData<'_, RoceDevice>) -> Result<OfferedQueue> {
        let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
        user.respond(&offer.info().encode())?;
        Ok(offer)
    }

    /// Adds a completion and raises the event that is due. If the completion is lost, the QP has to fail.
    pub(crate) fn push(
        &self,
        completion: &Completion,
        solicitation: Solicitation,
    ) -> Result<(), Overflow> {
        let mut state = self.state.lock();
        match state.condition {
            Condition::Working => {}
            Condition::Overflowed => return Err(Overflow),
            Condition::Destroyed => return Ok(()),
        }
        state
            .ring
            .push(&completion.encode())
            .inspect_err(|Overflow| {
                state.condition = Condition::Overflowed;
                self.events.error();
            })?;
        let due = match state.armed {
            Armed::No => false,
            Armed::Solicited => {
                solicitation == Solicitation::Solicited
                    || completion.status != CompletionStatus::Success
            }
            Armed::Any => true,
        };
        if due {
            state.armed = Armed::No;
            self.events.completion();
        }
        Ok(())
    }
}

/// A completion queue as its process sees it.
pub(crate) struct UserCompletionQueue {
    queue: Arc<CompletionQueue>,
    _place: Place,
}

impl UserCompletionQueue {
    fn build(
        device: &Device<RoceDevice>,
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> Result<Self> {
        Ok(Self {
            _place: device.objects().completion_queues.take()?,
            queue: CompletionQueue::build(init, events, user)?,
        })
    }

    /// What QPs put their completions into.
    pub(crate) fn queue(&self) -> &Arc<CompletionQueue> {
        &self.queue
    }
}

#[vtable]
impl CqOps<RoceDevice> for UserCompletionQueue {
    fn create(
        device: &Device<RoceDevice>,
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> impl PinInit<Self, Error> {
        UserCompletionQueue::build(device, init, events, user)
    }

    fn capacity(&self) -> u32 {
        self.queue.state.lock().ring.capacity()
    }

    fn request_notify(&self, notify: Notify) -> Result<MissedCompletions> {
        let mut state = self.queue.state.lock();
        state.armed = match (notify, state.armed) {
            (Notify::Solicited, Armed::No | Armed::Solicited) => Armed::Solicited,
            (Notify::Solicited, Armed::Any) | (Notify::Any, _) => Armed::Any,
        };
        Ok(if state.ring.is_empty() {
            MissedCompletions::None
        } else {
            MissedCompletions::Some
        })
    }

    fn resize(&self, capacity: u32, user: UserData<'_, RoceDevice>) -> Result {
        let mut ring = CompletionQueue::ring(capacity)?;
        let offer = CompletionQueue::offer(&ring, &user)?;
        let mut transfer = self.queue.state.lock().ring.transfer();
        loop {
            let mut state = self.queue.state.lock();
            match ring.take_over(&state.ring, &mut transfer)? {
                Remainder::Some => {}
                Remainder::None => {
                    core::mem::swap(&mut state.ring, &mut ring);
                    break;
                }
            }
        }
        // With the lock released, because memory is freed.
        drop(ring);
        *self.queue.offer.lock() = offer;
        Ok(())
    }

    fn destroy(&self) {
        self.queue.state.lock().condition = Condition::Destroyed;
    }
}
