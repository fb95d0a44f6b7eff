// SPDX-License-Identifier: GPL-2.0

//! Where a QP's receives come from, and those it has taken.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::limits::WINDOW;
use crate::transport::ids::ReceiveSlot;
use crate::transport::ids::Rkey;
use crate::transport::responder;
use crate::transport::responder::KeyNotValid;
use crate::transport::responder::Receive;
use crate::verbs::elements::Elements;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Initiator;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::RegionTable;
use crate::verbs::pd::PdId;
use crate::verbs::queue::WorkProducer;
use crate::verbs::queue::WorkQueue;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::MmapBuffer;
use crate::verbs::rdma::QpCap;
use crate::verbs::receive;
use crate::verbs::receive::Posted;
use crate::verbs::receive::ReceiveStore;
use crate::verbs::srq::SharedReceiveQueue;
use crate::verbs::window::Binder;

/// The queue receives are taken from.
enum Source {
    /// The QP's own.
    Own(WorkQueue),
    /// One it shares with others.
    Shared(Arc<SharedReceiveQueue>),
}

/// A QP's receives.
pub(super) struct ReceiveQueue {
    source: Source,
    store: ReceiveStore,
    /// The domain the buffers of receives lie in.
    pd: PdId,
}

impl ReceiveQueue {
    /// A queue of the QP's own, of at least the sizes in `cap`.
    pub(super) fn new(cap: &QpCap, pd: PdId) -> Result<Self> {
        let ring = WorkQueue::new(cap.max_recv_wr, receive::element_size(cap.max_recv_sge))?;
        Ok(Self {
            source: Source::Own(ring),
            store: ReceiveStore::new(usize::from(WINDOW), cap.max_recv_sge)?,
            pd,
        })
    }

    /// Receives of `srq`.
    pub(super) fn shared(srq: Arc<SharedReceiveQueue>) -> Result<Self> {
        Ok(Self {
            store: ReceiveStore::new(usize::from(WINDOW), srq.max_sge())?,
            pd: srq.pd(),
            source: Source::Shared(srq),
        })
    }

    /// How many receives the QP's own queue holds.
    pub(super) fn capacity(&self) -> u32 {
        match &self.source {
            Source::Own(ring) => ring.capacity(),
            Source::Shared(_) => 0,
        }
    }

    /// The memory of the QP's own queue.
    pub(super) fn memory(&self) -> Option<Arc<MmapBuffer>> {
        match &self.source {
            Source::Own(ring) => Some(ring.memory()),
            Source::Shared(_) => None,
        }
    }

    /// What adds receives to the QP's own queue, if no process is offered it.
    pub(super) fn producer_side(&self) -> Option<WorkProducer> {
        match &self.source {
            Source::Own(ring) => Some(ring.producer_side()),
            Source::Shared(_) => None,
        }
    }

    /// Forgets the receives that were taken, and drops those in the QP's own queue.
    pub(super) fn reset(&mut self) {
        self.store.clear();
        if let Source::Own(ring) = &mut self.source {
            ring.discard();
        }
    }

    /// The oldest receive taken has completed.
    pub(super) fn release(&mut self) {
        self.store.remove();
        if let Source::Own(ring) = &mut self.source {
            ring.release();
        }
    }

    /// Takes a receive out of the QP's own queue without using it, and returns the process's name for
    /// it. Nothing taken before must be left.
    pub(super) fn flush_next(&mut self) -> Option<u64> {
        let Source::Own(ring) = &mut self.source else {
            return None;
        };
        let taken = ring.take()?;
        let posted = Posted::read(ring, taken, &mut []);
        ring.release();
        Some(posted.wr_id)
    }

    /// The elements of a receive that was taken.
    pub(super) fn elements(&self, slot: ReceiveSlot) -> Elements<'_> {
        self.store.elements(slot)
    }

    /// What their memory must allow.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            pd: self.pd,
            peer_of: None,
            access: Access::LocalWrite.into(),
        }
    }
}

/// A QP's receives, and the windows that are bound to it, whose keys its peer may make invalid.
pub(super) struct Inbox<'a> {
    pub(super) queue: &'a mut ReceiveQueue,
    pub(super) regions: &'a RegionTable,
    pub(super) binder: Binder,
}

impl responder::ReceiveQueue for Inbox<'_> {
    fn take(&mut self) -> Option<Receive> {
        let source = &mut self.queue.source;
        let (slot, posted) = self.queue.store.add(|elements| match source {
            Source::Own(ring) => {
                let taken = ring.take()?;
                Some(Posted::read(ring, taken, elements))
            }
            Source::Shared(srq) => srq.take(elements),
        })?;
        Some(Receive {
            slot,
            wr_id: posted.wr_id,
            length: posted.length,
            soundness: posted.soundness,
        })
    }

    fn invalidate(&mut self, rkey: Rkey) -> Result<(), KeyNotValid> {
        self.regions
            .invalidate(self.binder, Key(rkey.0), Initiator::Peer)
            .map(|_| ())
            .map_err(|AccessDenied| KeyNotValid)
    }
}
