// SPDX-License-Identifier: GPL-2.0

//! Completion queues.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::static_lock_class;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::irq_lock::IrqLock;
use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::CQE_SIZE;
use crate::verbs::abi::limits::MAX_CQE;
use crate::verbs::kernel_completions::KernelCompletion;
use crate::verbs::kernel_completions::KernelCompletions;
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
use crate::verbs::rdma::QpReference;
use crate::verbs::rdma::UserData;
use crate::verbs::rdma::WorkCompletion;
use crate::verbs::trace;
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

/// Where completions wait.
enum Store {
    /// In memory that a process shares.
    Shared(EventQueue),
    /// In the kernel's own, for a user there.
    Kernel(KernelCompletions),
}

impl Store {
    fn capacity(&self) -> u32 {
        match self {
            Self::Shared(ring) => ring.capacity(),
            Self::Kernel(completions) => completions.capacity(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Shared(ring) => ring.is_empty(),
            Self::Kernel(completions) => completions.is_empty(),
        }
    }

    fn push(&mut self, completion: &Completion, qp: QpReference) -> Result<(), Overflow> {
        match self {
            Self::Shared(ring) => ring.push(&completion.encode()),
            Self::Kernel(completions) => completions.push(KernelCompletion {
                completion: *completion,
                qp,
            }),
        }
    }
}

struct State {
    store: Store,
    armed: Armed,
    condition: Condition,
}

/// Completions, and the events that announce them.
///
/// # Locking
///
/// Its lock is innermost among the verbs objects': it is taken with the lock of a QP held, and in any context, as users in the
/// kernel poll there. It is not held while a user is told of something, who may poll at once.
#[pin_data]
pub(crate) struct CompletionQueue {
    events: CqEvents,
    #[pin]
    state: IrqLock<State>,
    /// A lock that is taken alone.
    #[pin]
    offer: Mutex<Option<OfferedQueue>>,
}

/// `EINVAL` for a number of entries that no queue has.
fn check_capacity(entries: u32) -> Result {
    if (1..=MAX_CQE).contains(&entries) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// What a user is told of a completion.
enum Tidings {
    /// Nothing.
    None,
    /// That there is one.
    Completion,
    /// That one was lost.
    Overflow,
}

impl CompletionQueue {
    fn ring(entries: u32) -> Result<EventQueue> {
        check_capacity(entries)?;
        EventQueue::new(entries, CQE_SIZE)
    }

    fn build<D: Driver<UserContext = ProcessContext>>(
        init: CqInit,
        events: CqEvents,
        user: Option<UserData<'_, D>>,
    ) -> Result<Arc<Self>> {
        let (store, offer) = match user {
            Some(user) => {
                let ring = Self::ring(init.capacity)?;
                let offer = Self::offer(&ring, &user)?;
                (Store::Shared(ring), Some(offer))
            }
            None => {
                check_capacity(init.capacity)?;
                (Store::Kernel(KernelCompletions::new(init.capacity)?), None)
            }
        };
        Arc::pin_init(
            pin_init!(Self {
                events,
                state <- IrqLock::new(
                    State {
                        store,
                        armed: Armed::No,
                        condition: Condition::Working,
                    },
                    c"usb4_roce_cq",
                    static_lock_class!()
                ),
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

    /// Adds a completion of `qp` and raises the event that is due. If the completion is lost, the QP has to fail.
    pub(crate) fn push(
        &self,
        completion: &Completion,
        solicitation: Solicitation,
        qp: QpReference,
    ) -> Result<(), Overflow> {
        trace::cqe(completion);
        let (result, tidings) = self.state.lock().push(completion, solicitation, qp);
        match tidings {
            Tidings::None => {}
            Tidings::Completion => self.events.completion(),
            Tidings::Overflow => self.events.error(),
        }
        result
    }
}

impl State {
    fn push(
        &mut self,
        completion: &Completion,
        solicitation: Solicitation,
        qp: QpReference,
    ) -> (Result<(), Overflow>, Tidings) {
        match self.condition {
            Condition::Working => {}
            Condition::Overflowed => return (Err(Overflow), Tidings::None),
            Condition::Destroyed => return (Ok(()), Tidings::None),
        }
        if let Err(Overflow) = self.store.push(completion, qp) {
            self.condition = Condition::Overflowed;
            return (Err(Overflow), Tidings::Overflow);
        }
        let due = match self.armed {
            Armed::No => false,
            Armed::Solicited => {
                solicitation == Solicitation::Solicited
                    || completion.status != CompletionStatus::Success
            }
            Armed::Any => true,
        };
        if !due {
            return (Ok(()), Tidings::None);
        }
        self.armed = Armed::No;
        (Ok(()), Tidings::Completion)
    }
}

/// A device with completion queues.
pub(crate) trait HasCompletionQueues {
    /// Their places.
    fn completion_queues(&self) -> &Arc<Quota>;
}

/// A completion queue as its user sees it.
pub(crate) struct UserCompletionQueue {
    queue: Arc<CompletionQueue>,
    /// The kernel's take none from processes.
    _place: Option<Place>,
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
            _place: match &user {
                Some(_) => Some(device.driver().completion_queues().take()?),
                None => None,
            },
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
        self.queue.state.lock().store.capacity()
    }

    fn poll(&self) -> Option<WorkCompletion> {
        let mut state = self.queue.state.lock();
        match &mut state.store {
            // Its process has it mapped.
            Store::Shared(_) => None,
            Store::Kernel(completions) => completions.pop().map(|taken| taken.work_completion()),
        }
    }

    fn request_notify(&self, notify: Notify) -> Result<MissedCompletions> {
        let mut state = self.queue.state.lock();
        state.armed = match (notify, state.armed) {
            (Notify::Solicited, Armed::No | Armed::Solicited) => Armed::Solicited,
            (Notify::Solicited, Armed::Any) | (Notify::Any, _) => Armed::Any,
        };
        Ok(if state.store.is_empty() {
            MissedCompletions::No
        } else {
            MissedCompletions::Yes
        })
    }

    fn resize(&self, capacity: u32, user: UserData<'_, D>) -> Result {
        let mut ring = CompletionQueue::ring(capacity)?;
        let offer = CompletionQueue::offer(&ring, &user)?;
        let mut transfer = match &self.queue.state.lock().store {
            Store::Shared(ring) => ring.transfer(),
            Store::Kernel(_) => return Err(unsupported()),
        };
        loop {
            let mut state = self.queue.state.lock();
            let Store::Shared(old) = &mut state.store else {
                return Err(unsupported());
            };
            match ring.take_over(old, &mut transfer)? {
                Remainder::More => {}
                Remainder::Nothing => {
                    core::mem::swap(old, &mut ring);
                    break;
                }
            }
        }
        // With the lock released, because memory is freed.
        drop(ring);
        *self.queue.offer.lock() = Some(offer);
        Ok(())
    }

    fn destroy(&self) {
        self.queue.state.lock().condition = Condition::Destroyed;
    }
}
