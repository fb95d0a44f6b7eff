// SPDX-License-Identifier: GPL-2.0

//! Creation, destruction and the other operations of `ib_core` on a QP.

use kernel::list::AtomicTracker;
use kernel::list::ListLinks;
use kernel::new_condvar;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::new_delayed_work;
use kernel::workqueue::new_work;

use super::attributes::Attributes;
use super::departures::Departures;
use super::paging::Paging;
use super::poster::Poster;
use super::queue_pair::Backlog;
use super::queue_pair::QpRouteTable;
use super::queue_pair::QpTable;
use super::queue_pair::QueuePair;
use super::queue_pair::ReceiveFlush;
use super::queue_pair::State;
use super::queue_pair::FLUSHER;
use super::queue_pair::GENERAL_SERVICES;
use super::queue_pair::POSTER;
use super::queue_pair::TIMER;
use super::receive_queue::ReceiveQueue;
use super::send_queue::SendQueue;
use super::service::Service;
use crate::base::clock;
use crate::base::delayed_work;
use crate::base::workers::Workers;
use crate::transport::ids::Qpn;
use crate::transport::unreliable_datagram as datagram;
use crate::verbs::abi::limits::MAX_INLINE;
use crate::verbs::abi::limits::MAX_QUEUE_WR;
use crate::verbs::abi::limits::MAX_SGE;
use crate::verbs::abi::response::CreateQpResponse;
use crate::verbs::abi::response::MmapInfo;
use crate::verbs::abi::send_wqe::PostedBy;
use crate::verbs::address::HasPaths;
use crate::verbs::address::PathTable;
use crate::verbs::ah::PathHandle;
use crate::verbs::bindings;
use crate::verbs::counters::Counters;
use crate::verbs::cq::UserCompletionQueue;
use crate::verbs::mmap_offer::OfferedQueue;
use crate::verbs::mr::HasRegions;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::pagers::Pagers;
use crate::verbs::pd::Owner;
use crate::verbs::pd::PdId;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::Gid;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::QpAttributes;
use crate::verbs::rdma::QpCap;
use crate::verbs::rdma::QpEvents;
use crate::verbs::rdma::QpInit;
use crate::verbs::rdma::QpModify;
use crate::verbs::rdma::QpOps;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::QpType;
use crate::verbs::rdma::ReceiveRequest;
use crate::verbs::rdma::SendRequest;
use crate::verbs::rdma::SignalType;
use crate::verbs::rdma::UserData;
use crate::verbs::route::TxHint;
use crate::verbs::route_slot::RouteSlot;
use crate::verbs::srq::SharedReceiveQueue;
use crate::verbs::user_context::ProcessContext;

/// `EINVAL` for sizes beyond the device's limits.
fn check(cap: &QpCap) -> Result {
    let fits = cap.max_send_wr <= MAX_QUEUE_WR
        && cap.max_recv_wr <= MAX_QUEUE_WR
        && cap.max_send_sge <= MAX_SGE
        && cap.max_recv_sge <= MAX_SGE
        && cap.max_inline_data <= MAX_INLINE;
    if fits {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

impl State {
    fn new(
        qp_type: QpType,
        cap: &QpCap,
        receive_queue: ReceiveQueue,
        paths: &Arc<PathTable>,
        pd: PdId,
    ) -> Result<Self> {
        let posted_by = match pd.owner() {
            Owner::Process => PostedBy::Process,
            Owner::Kernel => PostedBy::Kernel,
        };
        let send_queue = SendQueue::new(cap, posted_by)?;
        Ok(Self {
            state: QpState::Reset,
            attributes: Attributes::new(),
            service: Service::new(qp_type, send_queue.max_active(), paths, pd)?,
            departures: Departures::new(send_queue.max_active(), pd.owner())?,
            send_queue,
            receive_queue,
            route: RouteSlot::new(),
            old_route: None,
            timer_at: None,
            is_destroyed: false,
            flush_interval_ms: None,
            backlog: Backlog::Clear,
            receive_flush: ReceiveFlush::Ring,
            ending: None,
            placements: 0,
            held: None,
            paging: Paging::new(),
        })
    }
}

impl State {
    /// The attributes with the PSNs that come next, once there are any.
    fn connected_attributes(&self) -> Attributes {
        let mut attributes = self.attributes;
        if let Some(psn) = self.service.next_psn() {
            attributes.sq_psn = psn;
        }
        if let Some(psn) = self.service.expected_psn() {
            attributes.rq_psn = psn;
        }
        attributes
    }
}

/// A device with QPs.
pub(crate) trait HasQueuePairs:
    HasRegions
    + HasPaths
    + Driver<
        UserContext = ProcessContext,
        Pd = ProtectionDomain,
        Cq = UserCompletionQueue,
        Srq = Arc<SharedReceiveQueue>,
        Ah = PathHandle,
    >
{
    /// Table of all QPs.
    fn queue_pairs(&self) -> &Arc<QpTable>;

    /// Where what they do is counted.
    fn counters(&self) -> &Arc<Counters>;

    /// The ways to other hosts.
    fn routes(&self) -> &Arc<QpRouteTable>;

    /// What they need to wait for pages.
    fn pagers(&self) -> &Arc<Pagers>;
    /// Threads for what QPs do later.
    fn workers(&self) -> &Arc<Workers>;
    /// The multicast groups.
    fn multicast_groups(&self) -> &Arc<MulticastGroups>;
}

/// How a QP gets its work requests.
enum Access {
    /// A process has its queues mapped.
    Process {
        _send: OfferedQueue,
        _receive: Option<OfferedQueue>,
    },
    /// They are posted in the kernel.
    Kernel(Pin<KBox<Poster>>),
}

/// A QP as its user sees it.
pub(crate) struct UserQueuePair {
    qp: Arc<QueuePair>,
    access: Access,
}

/// Which QPs there are: both have reliable connections and datagrams, processes have unreliable connections too, and the kernel
/// has the QP for general services.
fn check_type(qp_type: QpType, owner: Owner) -> Result {
    match (qp_type, owner) {
        (QpType::Rc | QpType::Uc | QpType::Ud, Owner::Process)
        | (QpType::Rc | QpType::Ud | QpType::Gsi, Owner::Kernel) => Ok(()),
        (QpType::Gsi, Owner::Process) | (QpType::Uc, Owner::Kernel) => Err(unsupported()),
    }
}

impl UserQueuePair {
    fn build<D>(
        pd: &Pd<D>,
        init: QpInit<'_, D>,
        events: QpEvents,
        user: Option<UserData<'_, D>>,
    ) -> Result<Self>
    where
        D: HasQueuePairs,
    {
        let owner = Owner::of(user.as_ref());
        check_type(init.qp_type, owner)?;
        // Whose memory a QP may name goes by its domain.
        if pd.id().owner() != owner {
            return Err(EINVAL);
        }
        check(&init.cap)?;
        let receive_queue = match init.srq {
            None => ReceiveQueue::new(&init.cap, pd.id())?,
            Some(srq) => ReceiveQueue::shared((**srq).clone())?,
        };
        let state = State::new(
            init.qp_type,
            &init.cap,
            receive_queue,
            pd.device().driver().paths(),
            pd.id(),
        )?;
        let limits = state.send_queue.limits();
        let cap = QpCap {
            max_send_wr: state.send_queue.capacity(),
            max_recv_wr: state.receive_queue.capacity(),
            max_send_sge: limits.max_sge,
            max_recv_sge: init.cap.max_recv_sge,
            max_inline_data: limits.max_inline,
        };
        let access = match &user {
            Some(user) => Self::offer(&state, user)?,
            None => Access::Kernel(Poster::new(&state, init.cap.max_recv_sge)?),
        };

        let device = pd.device().driver();
        let queue_pairs = device.queue_pairs();
        let make = |number| {
            Arc::pin_init(
                pin_init!(QueuePair {
                    qpn: Qpn::new(number),
                    pd: pd.id(),
                    qp_type: init.qp_type,
                    cap,
                    signalling: init.signalling,
                    has_shared_receives: init.srq.is_some(),
                    send_cq: init.send_cq.queue().clone(),
                    recv_cq: init.recv_cq.queue().clone(),
                    events,
                    reference: init.reference,
                    regions: device.regions().clone(),
                    queue_pairs: queue_pairs.clone(),
                    counters: device.counters().clone(),
                    routes: device.routes().clone(),
                    pagers: device.pagers().clone(),
                    workers: device.workers().clone(),
                    groups: device.multicast_groups().clone(),
                    state <- new_spinlock!(state),
                    settled <- new_condvar!("usb4_roce_qp_settled"),
                    timer <- new_delayed_work!("usb4_roce_qp_timer"),
                    flusher <- new_delayed_work!("usb4_roce_qp_flusher"),
                    posted <- new_delayed_work!("usb4_roce_qp_posted"),
                    takes_requests: Atomic::new(false),
                    flushes_receives: Atomic::new(false),
                    pager <- new_work!("usb4_roce_qp_pager"),
                    links <- ListLinks::new(),
                    tracker <- AtomicTracker::new(),
                }),
                GFP_KERNEL_ACCOUNT,
            )
        };
        let qp = match init.qp_type {
            QpType::Gsi => queue_pairs.add_at(GENERAL_SERVICES, || make(GENERAL_SERVICES))?,
            QpType::Rc | QpType::Uc | QpType::Ud => queue_pairs.add(make)?,
        };
        Ok(Self { qp, access })
    }

    /// Offers the queues to the process and tells it.
    fn offer<D: HasQueuePairs>(state: &State, user: &UserData<'_, D>) -> Result<Access> {
        let offers = user.context().offers();
        let send = OfferedQueue::new(offers, state.send_queue.memory())?;
        let receive = match state.receive_queue.memory() {
            Some(memory) => Some(OfferedQueue::new(offers, memory)?),
            None => None,
        };
        user.respond(&CreateQpResponse {
            receive: receive.as_ref().map_or(MmapInfo::NONE, OfferedQueue::info),
            send: send.info(),
        })?;
        Ok(Access::Process {
            _send: send,
            _receive: receive,
        })
    }

    /// What posts in the kernel's name.
    fn poster(&self) -> Result<&Poster> {
        match &self.access {
            Access::Kernel(poster) => Ok(poster),
            Access::Process { .. } => Err(EINVAL),
        }
    }
}

impl<D> QpOps<D> for UserQueuePair
where
    D: HasQueuePairs,
{
    fn create(
        pd: &Pd<D>,
        init: QpInit<'_, D>,
        events: QpEvents,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        Self::build(pd, init, events, user)
    }

    fn number(&self) -> u32 {
        self.qp.qpn.get()
    }

    fn cap(&self) -> QpCap {
        self.qp.cap
    }

    fn signalling(&self) -> SignalType {
        self.qp.signalling
    }

    fn modify(&self, change: QpModify<'_>, _user: Option<UserData<'_, D>>) -> Result {
        self.qp.change(&change)
    }

    fn query(&self) -> Result<QpAttributes> {
        let state = self.qp.state.lock();
        Ok(QpAttributes {
            sq_draining: state.service.is_draining(),
            ..state
                .connected_attributes()
                .report(state.state, self.qp.cap)
        })
    }

    fn ring_doorbell(&self) -> Result {
        // With the locks that sending takes such a thread could be kept from running for long, and everybody else from sending.
        let leaves_sending_to_others = is_background_thread();
        let mut guard = self.qp.state.lock();
        let state = &mut *guard;
        match state.state {
            // IBTA 10.8.3.1: posting is an immediate error.
            QpState::Reset | QpState::Init | QpState::Rtr => {
                state.send_queue.discard();
                return Err(EINVAL);
            }
            QpState::Rts | QpState::Sqd | QpState::Sqe | QpState::Err => {}
        }
        let now = clock::now();
        let rails = self.qp.process_events(state, now);
        let hint = if leaves_sending_to_others {
            TxHint::Deferred
        } else {
            QueuePair::hint_of_posts(state)
        };
        self.qp.schedule(guard, rails, hint);
        Ok(())
    }

    fn post_send(&self, request: &SendRequest<'_, D>) -> Result {
        // IBTA 10.8.3.1: posting is an immediate error.
        if !self.qp.takes_requests.load(Relaxed) {
            return Err(EINVAL);
        }
        self.poster()?.post_send(request)?;
        // What sending takes cannot be had in any context.
        self.qp.post_later();
        Ok(())
    }

    fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result {
        self.poster()?.post_receive(request)?;
        // Who drains the queue waits for it to be flushed.
        if self.qp.flushes_receives.load(Relaxed) {
            self.qp.post_later();
        }
        Ok(())
    }

    fn attach_multicast(&self, group: Gid) -> Result {
        self.qp.groups.attach(datagram::Gid(group.0), self.qp.qpn)
    }

    fn detach_multicast(&self, group: Gid) -> Result {
        self.qp.groups.detach(datagram::Gid(group.0), self.qp.qpn)
    }

    fn destroy(&self) {
        self.qp.destroy();
    }
}

impl QueuePair {
    /// Ends all activity of the QP.
    fn destroy(self: &Arc<Self>) {
        let (final_ack, route) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.is_destroyed = true;
            let final_ack = Self::reset(state);
            (final_ack, state.route.replace(self, None))
        };
        self.queue_pairs.remove(self.qpn.get());
        self.groups.detach_all(self.qpn);
        delayed_work::cancel::<_, TIMER>(self);
        delayed_work::cancel::<_, FLUSHER>(self);
        delayed_work::cancel::<_, POSTER>(self);
        if let Some((route, final_ack)) = route.zip(final_ack) {
            route.final_ack(final_ack);
        }
        // The user's memory must not change any more when this returns.
        self.await_payloads();
    }
}

/// Whether the calling thread runs when others leave it time only.
fn is_background_thread() -> bool {
    // SAFETY: The function only looks at the calling thread.
    unsafe { bindings::verbs_shim_current_is_background() }
}
