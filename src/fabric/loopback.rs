// SPDX-License-Identifier: GPL-2.0

//! The way from this host to itself: frames are carried from QP to QP by copying from pages to pages.
//!
//! The same protocol runs as over a cable, on a single rail that loses nothing. The caller processes the list of QPs that have
//! frames, unless it is being processed: then whoever does so looks into it again.

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::workqueue::new_delayed_work;
use kernel::workqueue::DelayedWork;
use kernel::workqueue::WorkItem;

use crate::base::clock;
use crate::base::delayed_work;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::base::workers::Workers;
use crate::fabric::ready_list::ReadyList;
use crate::transport::final_acks::AckState;
use crate::transport::final_acks::FinalAck;
use crate::transport::frame::Body;
use crate::transport::frame::DatagramHeader;
use crate::transport::frame::Operands;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;
use crate::transport::outcome::Outcome;
use crate::transport::rail::hello::Features;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::Rails;
use crate::transport::share::Cause;
use crate::transport::share::Share;
use crate::transport::unreliable_datagram::destination;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::netdev::MacAddress;
use crate::verbs::qp::FramePayload;
use crate::verbs::qp::QpTable;
use crate::verbs::qp::QueuePair;
use crate::verbs::qp::RxFrame;
use crate::verbs::qp::RxVerdict;
use crate::verbs::qp::TxFrame;
use crate::verbs::qp::FEATURES;
use crate::verbs::qp::LIMITS;
use crate::verbs::route::Errand;
use crate::verbs::route::FrameSink;
use crate::verbs::route::Route;
use crate::verbs::route::Sender;
use crate::verbs::route::TxHint;
use crate::verbs::route::Work;
use crate::verbs::route_slot::Attached;
use crate::verbs::route_slot::Roster;
use crate::verbs::route_slot::RosterId;

/// The id of the only work.
const CARRIER: u64 = 0;

/// Frames a process carries within one system call.
const DIRECT_BUDGET: u32 = 64;
/// Frames the work carries before it lets others run.
const WORK_BUDGET: u32 = 1024;

/// Payloads on their way.
struct Buffers {
    staging: KVVec<u8>,
    source: PageVec,
    target: PageVec,
}

impl FrameSink for Buffers {
    fn staging(&mut self) -> &mut [u8] {
        &mut self.staging
    }

    fn pages(&mut self) -> &mut PageVec {
        &mut self.source
    }

    fn stage_pages(&mut self, at: usize) -> Result {
        let len = self.source.len();
        let room = self
            .staging
            .get_mut(at..)
            .and_then(|bytes| bytes.get_mut(..len))
            .ok_or(EINVAL)?;
        self.source.copy_to_slice(0, room)?;
        self.source.clear();
        Ok(())
    }

    fn room(&self) -> u32 {
        MAX_PAYLOAD as u32
    }
}

/// What the loop and its work share.
///
/// # Locking
///
/// Whoever carries holds `buffers`, a mutex, which is outermost. `ready` may be taken with a QP locked.
#[pin_data]
struct Shared {
    host: MacAddress,
    queue_pairs: Arc<QpTable>,
    groups: Arc<MulticastGroups>,
    workers: Arc<Workers>,
    #[pin]
    ready: SpinLock<ReadyList>,
    #[pin]
    buffers: Mutex<Buffers>,
    #[pin]
    carrier: DelayedWork<Shared, CARRIER>,
}

kernel::workqueue::impl_has_delayed_work! {
    impl HasDelayedWork<Shared, CARRIER> for Shared { self.carrier }
}

/// Whether there is more to carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remainder {
    Nothing,
    More,
}

impl Shared {
    /// Has the work carry.
    fn carry_later(self: &Arc<Self>) {
        delayed_work::arm::<_, CARRIER>(self.workers.queue(), self, 0);
    }

    /// Carries up to `budget` frames, unless somebody else is doing so: that one looks into the ready
    /// list again after letting go of the buffers.
    fn carry(&self, budget: u32) -> Remainder {
        let Some(mut buffers) = self.buffers.try_lock() else {
            return Remainder::Nothing;
        };
        for _ in 0..budget {
            if self.carry_one(&mut buffers) == Remainder::Nothing {
                break;
            }
        }
        drop(buffers);
        match self.ready.lock().len() {
            0 => Remainder::Nothing,
            _ => Remainder::More,
        }
    }

    fn carry_one(&self, buffers: &mut Buffers) -> Remainder {
        let Some(qp) = self.ready.lock().pop() else {
            return Remainder::Nothing;
        };
        buffers.source.clear();
        let frame = qp.next_frame(
            RosterId::of(self),
            RailId::default(),
            RailSeq(0),
            clock::now(),
            buffers,
        );
        if let Some(frame) = frame {
            self.deliver(&frame, buffers);
        }
        Remainder::More
    }

    fn deliver(&self, frame: &TxFrame, buffers: &mut Buffers) {
        let received = match &frame.body {
            Body::Request(header) => RxFrame::Request(header, buffers.operands(frame.payload)),
            Body::Response(header) => RxFrame::Response(header),
            Body::Ack(header) => RxFrame::Ack(header),
            Body::Unreliable(header) => RxFrame::Unreliable(header, RailId::default()),
            Body::UnreliableDatagram(header) if header.dest_qpn == Qpn::MULTICAST => {
                self.deliver_to_group(header, frame.payload, buffers);
                return;
            }
            Body::UnreliableDatagram(header) => RxFrame::Datagram(header),
            Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_) => return,
        };
        self.deliver_to(received.destination(), received, frame.payload, buffers);
    }

    /// To all members of the group but who has sent it.
    fn deliver_to_group(
        &self,
        header: &DatagramHeader,
        payload: FramePayload,
        buffers: &mut Buffers,
    ) {
        let Some(group) = destination(&buffers.staging) else {
            return;
        };
        let mut from = Qpn::default();
        while let Some(qpn) = self.groups.next_member(group, from) {
            if qpn != header.src_qpn {
                self.deliver_to(qpn, RxFrame::Datagram(header), payload, buffers);
            }
            from = Qpn::new(qpn.get() + 1);
        }
    }

    fn deliver_to(
        &self,
        qpn: Qpn,
        received: RxFrame<'_>,
        payload: FramePayload,
        buffers: &mut Buffers,
    ) {
        let Some(qp) = self.queue_pairs.find(qpn.get()) else {
            return;
        };
        buffers.target.clear();
        let verdict = qp.on_frame(
            self.host,
            received,
            clock::now(),
            &mut buffers.target,
            TxHint::Deferred,
        );
        match verdict {
            RxVerdict::Discarded | RxVerdict::Taken => {}
            RxVerdict::Place(placement) => {
                let outcome = match buffers.copy(payload) {
                    Ok(()) => Outcome::Placed,
                    Err(_) => Outcome::Aborted,
                };
                placement.commit(outcome, TxHint::Deferred);
            }
            // The payload has a length, or there would be nothing to place.
            RxVerdict::PlaceOnDemand(placement) => {
                if let Ok(bytes) = buffers.staged(payload) {
                    placement.place(bytes, TxHint::Deferred);
                }
            }
        }
    }
}

impl Buffers {
    fn new() -> Result<Self> {
        Ok(Self {
            staging: KVVec::from_elem(0, MAX_PAYLOAD, GFP_KERNEL)?,
            source: PageVec::new(),
            target: PageVec::new(),
        })
    }

    /// A payload as one piece. Fails if its length is not what it should be.
    fn staged(&mut self, payload: FramePayload) -> Result<&[u8]> {
        let len = match payload {
            FramePayload::Empty => 0,
            FramePayload::Staged(len) => len,
            FramePayload::PagesToStage | FramePayload::Pages => {
                let len = self.source.len();
                let bytes = self.staging.get_mut(..len).ok_or(EINVAL)?;
                self.source.copy_to_slice(0, bytes)?;
                len
            }
        };
        self.staging.get(..len).ok_or(EINVAL)
    }

    /// Operands, if the payload may be some.
    fn operands(&self, payload: FramePayload) -> Option<Operands> {
        match payload {
            FramePayload::Staged(len) => Operands::from_bytes(self.staging.get(..len)?),
            FramePayload::Empty | FramePayload::PagesToStage | FramePayload::Pages => None,
        }
    }

    /// Copies a payload to where it belongs. Fails if the lengths differ.
    fn copy(&mut self, payload: FramePayload) -> Result {
        match payload {
            FramePayload::Empty => Ok(()),
            FramePayload::Staged(len) => {
                let bytes = self.staging.get(..len).ok_or(EINVAL)?;
                self.target.copy_from_slice_in_order(bytes)
            }
            FramePayload::PagesToStage => {
                let len = self.source.len();
                let bytes = self.staging.get_mut(..len).ok_or(EINVAL)?;
                self.source.copy_to_slice(0, bytes)?;
                self.target.copy_from_slice_in_order(bytes)
            }
            FramePayload::Pages => self.target.copy_from_in_order(&self.source),
        }
    }
}

impl WorkItem<CARRIER> for Shared {
    type Pointer = Arc<Shared>;

    fn run(this: Arc<Shared>) {
        // Begun anew, so that others get the processor.
        if this.carry(WORK_BUDGET) == Remainder::More {
            this.carry_later();
        }
    }
}

/// The way from this host to itself.
pub(crate) struct Loopback {
    shared: Arc<Shared>,
}

impl Loopback {
    /// A loop for the host with address `host`, whose QPs are in `queue_pairs`, and in `groups`.
    pub(crate) fn new(
        host: MacAddress,
        queue_pairs: Arc<QpTable>,
        groups: Arc<MulticastGroups>,
        workers: Arc<Workers>,
    ) -> Result<Arc<Self>> {
        let buffers = Buffers::new()?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                host,
                queue_pairs,
                groups,
                workers,
                ready <- new_spinlock!(ReadyList::new()),
                buffers <- new_mutex!(buffers),
                carrier <- new_delayed_work!("usb4_roce_loopback"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Arc::new(Self { shared }, GFP_KERNEL)?)
    }

    /// Makes sure that nothing is carried any more: to be called before the module goes, with all QPs destroyed.
    pub(crate) fn stop(&self) {
        delayed_work::cancel::<_, CARRIER>(&self.shared);
    }
}

impl Roster for Loopback {
    type Member = Arc<QueuePair>;
    type Work = Work;
    type Errand = Errand;

    fn id(&self) -> RosterId {
        RosterId::of(&*self.shared)
    }

    /// What is posted is carried at once.
    fn note_share(&self, _old: Share, _new: Share, _cause: Cause) {}

    fn enqueue(&self, qp: &Attached<'_, Arc<QueuePair>>, work: Work) -> Errand {
        self.shared.ready.lock().push(qp);
        Errand::Carry(work.hint)
    }

    fn dequeue(&self, qp: &Attached<'_, Arc<QueuePair>>) {
        self.shared.ready.lock().remove(qp);
    }
}

impl Route for Loopback {
    fn carry(&self, hint: TxHint) {
        let remainder = match hint {
            TxHint::Direct
            | TxHint::Batched
            | TxHint::Gather
            | TxHint::Join(Sender::Poster | Sender::Transmitter) => {
                self.shared.carry(DIRECT_BUDGET)
            }
            TxHint::Deferred | TxHint::Coalesce | TxHint::Ride | TxHint::Join(Sender::Receiver) => {
                match self.shared.buffers.try_lock() {
                    // Somebody is carrying, perhaps the caller, and will look into the list again.
                    None => Remainder::Nothing,
                    Some(buffers) => {
                        drop(buffers);
                        Remainder::More
                    }
                }
            }
        };
        if remainder == Remainder::More {
            self.shared.carry_later();
        }
    }

    fn final_ack(&self, final_ack: FinalAck) {
        // What was sent has arrived.
        if final_ack.state == AckState::Sent {
            return;
        }
        let ack = final_ack.ack;
        if let Some(qp) = self.shared.queue_pairs.find(ack.dest_qpn.get()) {
            let host = self.shared.host;
            // An acknowledgement has no payload; the QP may be gone, or not take it any more.
            let _ = qp.on_frame(
                host,
                RxFrame::Ack(&ack),
                clock::now(),
                &mut PageVec::new(),
                TxHint::Deferred,
            );
        }
    }

    fn outwait(&self, _qpn: Qpn) {
        // Who carries has nothing left when the buffers are free.
        drop(self.shared.buffers.lock());
        // Whoever found them taken meanwhile relies on us.
        if self.shared.ready.lock().len() > 0 {
            self.shared.carry_later();
        }
    }

    fn withdraw_final_ack(&self, _qpn: Qpn) {
        // It was delivered.
    }

    fn limits(&self) -> Option<Limits> {
        Some(LIMITS)
    }

    fn features(&self) -> Option<Features> {
        Some(FEATURES)
    }

    fn log_unable(&self, _what: &str) {
        // This host knows of all that its QPs need.
    }

    fn rails(&self) -> &dyn Rails {
        self
    }

    // It is there as long as the fabric is.
    fn hold(&self) {}

    fn release(&self) {}
}

impl Rails for Loopback {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        // What has been given out has been carried.
        FrameStatus::Settled
    }

    fn up(&self) -> RailSet {
        RailSet::only(RailId::default())
    }
}
