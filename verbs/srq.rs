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

use super::abi::limits::MAX_QUEUE_WR;
use super::abi::limits::MAX_SGE;
use super::abi::response;
use super::device::RoceDevice;
use super::mmap_offer::OfferedQueue;
use super::objects::Objects;
use super::pd::PdId;
use super::queue::Remainder;
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
    max_sge: u32,
    events: SrqEvents,
    objects: Arc<Objects>,
    #[pin]
    state: SpinLock<State>,
    /// Taken alone.
    #[pin]
    offer: Mutex<OfferedQueue>,
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
                    max_sge,
                    events,
                    objects: objects.clone(),
                    state <- new_spinlock!(State {
                        ring,
                        limit: wanted.limit,
                    }),
                    offer <- new_mutex!(offer),
                }),
                GFP_KERNEL_ACCOUNT,
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

impl SharedReceiveQueue {
    /// Makes the queue larger or smaller; receives in it stay. The limit is changed with it, if one is given.
    fn resize(&self, max_wr: u32, limit: Option<u32>, user: UserData<'_, RoceDevice>) -> Result {
        if !(1..=MAX_QUEUE_WR).contains(&max_wr) {
            return Err(EINVAL);
        }
        let mut command = [0; response::MODIFY_SRQ_COMMAND_SIZE];
        user.read(&mut command)?;
        let mut ring = WorkQueue::new(max_wr, receive::element_size(self.max_sge))?;
        let offer = OfferedQueue::new(user.context().offers(), ring.memory())?;
        let address = usize::try_from(response::decode_modify_srq(&command))?;
        UserSlice::new(UserPtr::from_addr(address), response::MMAP_INFO_SIZE)
            .writer()
            .write_slice(&offer.info().encode())?;
        let mut transfer = self.state.lock().ring.transfer();
        loop {
            let mut state = self.state.lock();
            let limit = limit.unwrap_or(state.limit);
            if ring.capacity() < limit {
                return Err(EINVAL);
            }
            match ring.take_over(&state.ring, &mut transfer)? {
                Remainder::Some => {}
                Remainder::None => {
                    core::mem::swap(&mut state.ring, &mut ring);
                    state.limit = limit;
                    break;
                }
            }
        }
        // With the lock released, because memory is freed.
        drop(ring);
        *self.offer.lock() = offer;
        Ok(())
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
        let state = self.state.lock();
        SrqAttributes {
            max_wr: state.ring.capacity(),
            max_sge: self.max_sge,
            limit: state.limit,
        }
    }

    fn modify(&self, change: SrqModify, user: Option<UserData<'_, RoceDevice>>) -> Result {
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

    fn destroy(&self) {
        self.objects.shared_receive_queues.remove(self.number);
    }
}
