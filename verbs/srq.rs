// SPDX-License-Identifier: GPL-2.0

//! Shared receive queues.

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::uaccess::UserPtr;
use kernel::uaccess::UserSlice;

use crate::base::number_table::NumberTable;
use crate::verbs::abi::limits::MAX_QUEUE_WR;
use crate::verbs::abi::limits::MAX_SGE;
use crate::verbs::abi::response::CreateSrqResponse;
use crate::verbs::abi::response::MmapInfo;
use crate::verbs::abi::response::ModifySrqCommand;
use crate::verbs::limits::MAX_SHARED_RECEIVE_QUEUES;
use crate::verbs::mmap_offer::OfferedQueue;
use crate::verbs::pd::Owner;
use crate::verbs::pd::PdId;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::queue::Remainder;
use crate::verbs::queue::WorkQueue;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::ReceiveRequest;
use crate::verbs::rdma::SrqAttributes;
use crate::verbs::rdma::SrqEvents;
use crate::verbs::rdma::SrqModify;
use crate::verbs::rdma::SrqOps;
use crate::verbs::rdma::UserData;
use crate::verbs::receive;
use crate::verbs::receive::Posted;
use crate::verbs::receive_poster::ReceivePoster;
use crate::verbs::user_context::ProcessContext;

/// Zero means "no number" in the ABI.
const NUMBERS: core::ops::Range<u32> = 1..1 << 24;

/// Shared receive queues by number.
pub(crate) type SrqTable = NumberTable<SharedReceiveQueue>;

/// A device with shared receive queues.
pub(crate) trait HasSharedReceiveQueues {
    /// Table of all shared receive queues.
    fn shared_receive_queues(&self) -> &Arc<SrqTable>;
}

struct State {
    ring: WorkQueue,
    /// When fewer receives than this are left, an event is raised, and the limit becomes zero.
    limit: u32,
}

/// Receives that several QPs draw from.
///
/// # Locking
///
/// Its lock is taken with that of a QP held.
#[pin_data]
pub(crate) struct SharedReceiveQueue {
    number: u32,
    pd: PdId,
    max_sge: u32,
    events: SrqEvents,
    table: Arc<SrqTable>,
    #[pin]
    state: SpinLock<State>,
    access: Access,
}

/// How it gets its receives.
enum Access {
    /// A process has it mapped. The lock is taken alone.
    Process(Pin<KBox<Mutex<OfferedQueue>>>),
    /// They are posted in the kernel.
    Kernel(ReceivePoster),
}

impl SharedReceiveQueue {
    /// An empty table.
    pub(crate) fn table() -> impl PinInit<SrqTable> {
        NumberTable::new(NUMBERS, MAX_SHARED_RECEIVE_QUEUES)
    }

    fn build<D>(
        pd: &Pd<D>,
        wanted: SrqAttributes,
        events: SrqEvents,
        user: Option<UserData<'_, D>>,
    ) -> Result<Arc<Self>>
    where
        D: Driver<UserContext = ProcessContext, Pd = ProtectionDomain> + HasSharedReceiveQueues,
    {
        let owner = Owner::of(user.as_ref());
        // Whose memory its receives may name goes by its domain.
        if pd.id().owner() != owner {
            return Err(EINVAL);
        }
        if !(1..=MAX_QUEUE_WR).contains(&wanted.max_wr) || wanted.max_sge > MAX_SGE {
            return Err(EINVAL);
        }
        let table = pd.device().driver().shared_receive_queues();
        let max_sge = wanted.max_sge.max(1);
        let ring = WorkQueue::new(wanted.max_wr, receive::element_size(max_sge))?;
        let (access, info) = match &user {
            Some(user) => {
                let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
                let info = offer.info();
                let offer = KBox::pin_init(new_mutex!(offer), GFP_KERNEL_ACCOUNT)?;
                (Access::Process(offer), info)
            }
            None => {
                let poster = ReceivePoster::new(ring.producer_side(), max_sge)?;
                (Access::Kernel(poster), MmapInfo::NONE)
            }
        };
        let srq = table.add(|number| {
            Arc::pin_init(
                pin_init!(SharedReceiveQueue {
                    number,
                    pd: pd.id(),
                    max_sge,
                    events,
                    table: table.clone(),
                    state <- new_spinlock!(State {
                        ring,
                        limit: wanted.limit,
                    }),
                    access,
                }),
                GFP_KERNEL_ACCOUNT,
            )
        })?;
        if let Some(user) = user {
            user.respond(&CreateSrqResponse::new(info, srq.number))
                .inspect_err(|_| srq.leave_table())?;
        }
        Ok(srq)
    }

    /// Gives back the number of the queue.
    fn leave_table(&self) {
        self.table.remove(self.number);
    }

    /// Its protection domain, in which the buffers of its receives lie.
    pub(crate) fn pd(&self) -> PdId {
        self.pd
    }

    /// Elements a receive may have.
    pub(crate) fn max_sge(&self) -> u32 {
        self.max_sge
    }

    /// Takes a receive; its elements go to `elements`.
    pub(crate) fn take(&self, elements: &mut [u8]) -> Option<Posted> {
        let mut state = self.state.lock();
        let taken = state.ring.take()?;
        let posted = Posted::read(&state.ring, taken, elements);
        state.ring.release();
        if state.ring.waiting() < state.limit {
            state.limit = 0;
            self.events.limit_reached();
        }
        Some(posted)
    }
}

impl SharedReceiveQueue {
    /// Makes the queue larger or smaller; receives in it stay. The limit is changed with it, if one is given.
    fn resize<D: Driver<UserContext = ProcessContext>>(
        &self,
        max_wr: u32,
        limit: Option<u32>,
        user: UserData<'_, D>,
    ) -> Result {
        if !(1..=MAX_QUEUE_WR).contains(&max_wr) {
            return Err(EINVAL);
        }
        let Access::Process(offered) = &self.access else {
            return Err(unsupported());
        };
        let command: ModifySrqCommand = user.request()?;
        let mut ring = WorkQueue::new(max_wr, receive::element_size(self.max_sge))?;
        let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
        let address = usize::try_from(command.mmap_info_address)?;
        UserSlice::new(UserPtr::from_addr(address), size_of::<MmapInfo>())
            .writer()
            .write(&offer.info())?;
        let mut transfer = self.state.lock().ring.transfer();
        loop {
            let mut state = self.state.lock();
            let limit = limit.unwrap_or(state.limit);
            if ring.capacity() < limit {
                return Err(EINVAL);
            }
            match ring.take_over(&state.ring, &mut transfer)? {
                Remainder::More => {}
                Remainder::Nothing => {
                    core::mem::swap(&mut state.ring, &mut ring);
                    state.limit = limit;
                    break;
                }
            }
        }
        // With the lock released, because memory is freed.
        drop(ring);
        *offered.lock() = offer;
        Ok(())
    }
}

impl<D> SrqOps<D> for Arc<SharedReceiveQueue>
where
    D: Driver<UserContext = ProcessContext, Pd = ProtectionDomain> + HasSharedReceiveQueues,
{
    fn create(
        pd: &Pd<D>,
        wanted: SrqAttributes,
        events: SrqEvents,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        SharedReceiveQueue::build(pd, wanted, events, user)
    }

    fn query(&self) -> SrqAttributes {
        let state = self.state.lock();
        SrqAttributes {
            max_wr: state.ring.capacity(),
            max_sge: self.max_sge,
            limit: state.limit,
        }
    }

    fn modify(&self, change: SrqModify, user: Option<UserData<'_, D>>) -> Result {
        if let Some(max_wr) = change.max_wr {
            self.resize(max_wr, change.limit, user.ok_or_else(unsupported)?)?;
        } else if let Some(limit) = change.limit {
            let mut state = self.state.lock();
            if limit > state.ring.capacity() {
                return Err(EINVAL);
            }
            state.limit = limit;
        }
        Ok(())
    }

    fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result {
        match &self.access {
            Access::Kernel(poster) => poster.post(request),
            Access::Process(_) => Err(unsupported()),
        }
    }

    fn destroy(&self) {
        self.leave_table();
    }
}
