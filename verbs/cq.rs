// SPDX-License-Identifier: GPL-2.0

//! Completion queues.

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::CQE_SIZE;
use crate::verbs::abi::limits::MAX_CQE;
use crate::verbs::mmap_offer::OfferedQueue;
use crate::verbs::queue::EventQueue;
use crate::verbs::queue::Overflow;
use crate::verbs::queue::Remainder;
use crate::verbs::quota::Place;
use crate::verbs::quota::Quota;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::CqEvents;
use crate::verbs::rdma::CqInit;
use crate::verbs::rdma::CqOps;
use crate::verbs::rdma::Device;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MissedCompletions;
use crate::verbs::rdma::Notify;
use crate::verbs::rdma::UserData;
use crate::verbs::user_context::ProcessContext;

/// What has to happen for the next completion event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    /// No completion causes an event.
    No,
    /// A solicited completion, or one in error.
    Solicited,
    /// Any completion.
    Any,
}

/// What becomes of a completion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// Completions go into the ring.
    Working,
    /// It is lost: the ring overflowed, and the process was told. The queue stays unusable, and so does each
    /// QP that has something to tell by it (IBTA 11.6.3).
    Overflowed,
    /// Completions are dropped.
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
    /// A lock that is taken alone.
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

    fn build<D: Driver<UserContext = ProcessContext>>(
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, D>>,
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
    fn offer<D: Driver<UserContext = ProcessContext>>(
        ring: &EventQueue,
        user: &UserData<'_, D>,
    ) -> Result<OfferedQueue> {
        let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
        user.respond(&offer.info())?;
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

/// A device with completion queues.
pub(crate) trait HasCompletionQueues {
    /// Their places.
    fn completion_queues(&self) -> &Arc<Quota>;
}

/// A completion queue as its process sees it.
pub(crate) struct UserCompletionQueue {
    queue: Arc<CompletionQueue>,
    _place: Place,
}

impl UserCompletionQueue {
    fn build<D>(
        device: &Device<D>,
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, D>>,
    ) -> Result<Self>
    where
        D: Driver<UserContext = ProcessContext> + HasCompletionQueues,
    {
        Ok(Self {
            _place: device.driver().completion_queues().take()?,
            queue: CompletionQueue::build(init, events, user)?,
        })
    }

    /// What QPs put their completions into.
    pub(crate) fn queue(&self) -> &Arc<CompletionQueue> {
        &self.queue
    }
}

#[vtable]
impl<D> CqOps<D> for UserCompletionQueue
where
    D: Driver<UserContext = ProcessContext> + HasCompletionQueues,
{
    fn create(
        device: &Device<D>,
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, D>>,
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
            MissedCompletions::No
        } else {
            MissedCompletions::Yes
        })
    }

    fn resize(&self, capacity: u32, user: UserData<'_, D>) -> Result {
        let mut ring = CompletionQueue::ring(capacity)?;
        let offer = CompletionQueue::offer(&ring, &user)?;
        let mut transfer = self.queue.state.lock().ring.transfer();
        loop {
            let mut state = self.queue.state.lock();
            match ring.take_over(&state.ring, &mut transfer)? {
                Remainder::More => {}
                Remainder::Nothing => {
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
