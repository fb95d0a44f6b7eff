// SPDX-License-Identifier: GPL-2.0

//! Another host as the interface sees it: the frames that wait for it, and the rails that take them.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Mutex;

use super::tx_queue::QueueIndex;
use super::tx_queue::TxQueue;
use super::MacAddress;
use crate::stream_adapter::wake_list::WakeList;

/// Another host.
#[pin_data]
pub struct Neighbour {
    host: MacAddress,
    /// The queue of the stack for its frames, as long as it is known to the interface.
    queue: Atomic<u32>,
    /// How many rails lead there. Held while the neighbour is made known to the interface or taken away
    /// from it.
    #[pin]
    pub(super) rails: Mutex<usize>,
    /// The rails' events, of which one is raised for each frame.
    pub(super) wake: WakeList,
    #[pin]
    pub(super) tx: TxQueue,
}

impl Neighbour {
    /// The host with that address, with no rail yet.
    pub fn new(host: MacAddress) -> impl PinInit<Self> {
        pin_init!(Self {
            host,
            queue: Atomic::new(0),
            rails <- new_mutex!(0),
            wake: WakeList::new(),
            tx <- TxQueue::new(),
        })
    }

    /// Its address.
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
}
