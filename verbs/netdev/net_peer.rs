// SPDX-License-Identifier: GPL-2.0

//! Another host as the interface sees it: the frames that wait for it, and the rails that take them.

use core::ptr::NonNull;

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use super::mac_address::MacAddress;
use super::tx_queue::drop_frame;
use super::tx_queue::QueueIndex;
use super::tx_queue::TxQueue;
use crate::base::event::Event;
use crate::stream_adapter::client::Answers;
use crate::transport::ids::RailId;
use crate::transport::rail::hello::Features;
use crate::transport::rail_set::RailSet;
use crate::verbs::bindings;
use crate::verbs::netdev::wake_list::WakeList;

/// Who does what the stack has left undone on frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finishing {
    /// The host they go to, or nobody.
    Peer,
    /// This host: the other one does not know how.
    Us,
}

/// Another host.
///
/// All frames of a flow go over the same rail, as long as the rails and the flow's hash stay the same: over several, they
/// would overtake each other, and TCP would take that for losses.
#[pin_data]
pub struct NetPeer {
    host: MacAddress,
    /// The queue of the stack for its frames, as long as it is known to the interface.
    queue: Atomic<u32>,
    /// Held while a rail comes or goes, and while the host is made known to the interface or taken away from it.
    #[pin]
    pub(super) change: Mutex<()>,
    /// The rails that lead there.
    wake: WakeList,
    /// Those of them over which the host takes frames that are not finished, as bits.
    unfinished: Atomic<u32>,
    /// What each of them is to take.
    #[pin]
    tx: TxQueue,
}

impl NetPeer {
    /// The host with that address, with no rail yet.
    pub fn new(host: MacAddress) -> impl PinInit<Self> {
        pin_init!(Self {
            host,
            queue: Atomic::new(0),
            change <- new_mutex!(()),
            wake: WakeList::new(),
            unfinished: Atomic::new(0),
            tx <- TxQueue::new(),
        })
    }

    /// Ethernet address of the host.
    pub(super) fn host(&self) -> MacAddress {
        self.host
    }

    /// The stack's queue for it.
    pub(super) fn queue(&self) -> QueueIndex {
        QueueIndex(self.queue.load(Relaxed) as u16)
    }

    /// Gives it another queue of the stack.
    pub(super) fn set_queue(&self, queue: QueueIndex) {
        self.queue.store(queue.0.into(), Relaxed);
    }

    /// Whether any rail leads there.
    pub(super) fn has_rails(&self) -> bool {
        !self.wake.is_empty()
    }

    /// Another rail, which `tx_event` wakes, and over which the host has these `features`, with `change` held. Sleeps.
    /// Fails with `EEXIST` when it is there already.
    pub(super) fn add_rail(
        &self,
        rail: RailId,
        features: Features,
        tx_event: &Arc<Event>,
    ) -> Result {
        let mut able = self.takes_unfinished();
        if features.contains(Features::UNFINISHED_DATAGRAMS) {
            able.insert(rail);
        } else {
            able.remove(rail);
        }
        if self.wake.rails().contains(rail) {
            return Err(EEXIST);
        }
        // Before the rail can be chosen.
        self.unfinished.store(able.bits().into(), Relaxed);
        self.wake.add(rail, tx_event.clone())
    }

    /// The rails over which the host takes frames that are not finished.
    fn takes_unfinished(&self) -> RailSet {
        RailSet::from_bits(self.unfinished.load(Relaxed) as u16)
    }

    /// Whether the host takes frames that are not finished, over whichever rail they may go. In any context.
    pub(super) fn is_able(&self) -> bool {
        self.wake
            .rails()
            .without(self.takes_unfinished())
            .is_empty()
    }

    /// Who finishes frames that go over `rail`.
    pub(super) fn finishing_over(&self, rail: RailId) -> Finishing {
        if self.takes_unfinished().contains(rail) {
            Finishing::Peer
        } else {
            Finishing::Us
        }
    }

    /// A rail less, with `change` held; says whether it was there. Sleeps.
    pub(super) fn remove_rail(&self, rail: RailId) -> bool {
        if !self.wake.remove(rail) {
            return false;
        }
        if self.wake.rails().is_empty() {
            // One that is not answered is better than none.
            RailSet::ALL.iter().for_each(|rail| self.wake.offer(rail));
        }
        self.clear_lane(rail);
        true
    }

    /// The host does not answer over `rail`, or does again, with `change` held. A rail that is not answered gets no new frames as
    /// long as there is another, which takes over those that wait: they would hold up all others. Sleeps.
    pub(super) fn note_answers(&self, rail: RailId, answers: Answers) {
        match answers {
            Answers::Come => self.wake.offer(rail),
            Answers::Missing => {
                let others = self.wake.rails().without(RailSet::only(rail));
                if !others.is_empty() && self.wake.withdraw(rail) {
                    self.clear_lane(rail);
                }
            }
        }
    }

    /// Leaves what waits for `rail`, which gets nothing more, to another one. Without any it is dropped.
    fn clear_lane(&self, rail: RailId) {
        match self.wake.rails().iter().next() {
            Some(other) => {
                self.tx.hand_over(rail, other);
                self.wake.raise(other);
            }
            None => self.tx.purge(),
        }
    }

    /// Queues a frame for the rail of its flow. In any context.
    ///
    /// # Safety
    ///
    /// `skb` must belong to the caller, who gives it up, and `device` must be the interface that knows this
    /// host.
    pub(super) unsafe fn send(
        &self,
        skb: NonNull<bindings::sk_buff>,
        device: NonNull<bindings::net_device>,
    ) {
        // Who takes away a rail that is seen here waits for this section, and clears its lane afterwards.
        let _rcu = rcu::read_lock();
        // SAFETY: The buffer is the caller's.
        let hash = unsafe { bindings::verbs_shim_skb_hash(skb.as_ptr()) };
        match self.wake.rails().of_flow(hash) {
            Some(rail) => {
                // SAFETY: By the safety requirements.
                unsafe { self.tx.push(rail, skb, device, self.queue()) };
                self.wake.raise(rail);
            }
            // SAFETY: By the safety requirements.
            None => unsafe { drop_frame(skb, device) },
        }
    }

    /// Drops what waits.
    pub(super) fn purge(&self) {
        self.tx.purge();
    }

    /// Takes the next frame for `rail`, which then belongs to the caller.
    pub(super) fn take(
        &self,
        rail: RailId,
        device: NonNull<bindings::net_device>,
    ) -> Option<NonNull<bindings::sk_buff>> {
        self.tx.pop(rail, device, self.queue())
    }
}
