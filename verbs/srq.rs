// SPDX-License-Identifier: GPL-2.0

//! Shared receive queues.

use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::SpinLock;

use super::abi::limits::MAX_QUEUE_WR;
use super::abi::limits::MAX_SGE;
use super::abi::response;
use super::device::RoceDevice;
use super::mmap_offer::OfferedQueue;
use super::objects::Objects;
use super::pd::PdId;
use super::queue::WorkQueue;
use super::rdma::unsupported;
use super::rdma::Pd;
use super::rdma::SrqAttributes;
use super::rdma::SrqEvents;
use super::rdma::SrqModify;
use super::rdma::SrqOps;
use super::rdma::UserData;
use super::receive;
use super::receive::Posted;

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
    max_wr: u32,
    max_sge: u32,
    events: SrqEvents,
    objects: Arc<Objects>,
    #[pin]
    state: SpinLock<State>,
    _offer: OfferedQueue,
}

impl SharedReceiveQueue {
    fn build(
        pd: &Pd<RoceDevice>,
        wanted: SrqAttributes,
        events: SrqEvents,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> Result<Arc<Self>> {
        let user = user.ok_or_else(unsupported)?;
        if !(1..=MAX_QUEUE_WR).contains(&wanted.max_wr) || wanted.max_sge > MAX_SGE {
            return Err(EINVAL);
        }
        let objects = pd.device().objects();
        let max_sge = wanted.max_sge.max(1);
        let ring = WorkQueue::new(wanted.max_wr, receive::element_size(max_sge))?;
        let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
        let info = offer.info();
        let srq = objects.shared_receive_queues.add(|number| {
            Arc::pin_init(
                pin_init!(SharedReceiveQueue {
                    number,
                    pd: pd.id(),
                    max_wr: ring.capacity(),
                    max_sge,
                    events,
                    objects: objects.clone(),
                    state <- new_spinlock!(State {
                        ring,
                        limit: wanted.limit,
                    }),
                    _offer: offer,
                }),
                GFP_KERNEL,
            )
        })?;
        user.respond(&response::encode_srq(info, srq.number))
            .inspect_err(|_| srq.destroy())?;
        Ok(srq)
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

#[vtable]
impl SrqOps<RoceDevice> for Arc<SharedReceiveQueue> {
    fn create(
        pd: &Pd<RoceDevice>,
        wanted: SrqAttributes,
        events: SrqEvents,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> impl PinInit<Self, Error> {
        SharedReceiveQueue::build(pd, wanted, events, user)
    }

    fn query(&self) -> SrqAttributes {
        SrqAttributes {
            max_wr: self.max_wr,
            max_sge: self.max_sge,
            limit: self.state.lock().limit,
        }
    }

    fn modify(&self, change: SrqModify, _user: Option<UserData<'_, RoceDevice>>) -> Result {
        if change.max_wr.is_some() {
            return Err(unsupported());
        }
        if let Some(limit) = change.limit {
            if limit > self.max_wr {
                return Err(EINVAL);
            }
            self.state.lock().limit = limit;
        }
        Ok(())
    }

    fn destroy(&self) {
        self.objects.shared_receive_queues.remove(self.number);
    }
}
