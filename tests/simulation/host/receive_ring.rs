// SPDX-License-Identifier: GPL-2.0

//! Receives that wait to be used up.

use std::collections::VecDeque;

use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;

/// Receive requests, of one queue pair or shared by several.
#[derive(Default)]
pub struct ReceiveRing {
    waiting: VecDeque<Receive>,
    posted: u64,
    next_slot: u16,
    /// Receives handed out whose completion has not been seen.
    pub outstanding: u32,
    /// Its user posts one of this length just after nothing was found.
    pub posted_late: Option<u32>,
}

impl ReceiveRing {
    pub fn post(&mut self, length: u32) {
        self.posted += 1;
        self.next_slot = self.next_slot.wrapping_add(1);
        self.waiting.push_back(Receive {
            slot: ReceiveSlot(self.next_slot),
            wr_id: self.posted,
            length,
            soundness: Soundness::Sound,
        });
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Loses all receives that are waiting.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// Hands receives of a ring to one queue pair and remembers which one was which.
pub(super) struct Taker<'a> {
    pub(super) ring: &'a mut ReceiveRing,
    pub(super) taken: &'a mut Vec<Receive>,
}

impl ReceiveQueue for Taker<'_> {
    fn take(&mut self) -> Option<Receive> {
        let Some(receive) = self.ring.waiting.pop_front() else {
            if let Some(length) = self.ring.posted_late {
                self.ring.post(length);
            }
            return None;
        };
        self.ring.outstanding += 1;
        self.taken.push(receive);
        Some(receive)
    }
}
