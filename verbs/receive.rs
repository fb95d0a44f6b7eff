// SPDX-License-Identifier: GPL-2.0

//! Receive work requests, taken out of a ring and kept until they complete.

use kernel::prelude::*;

use crate::transport::ids::ReceiveSlot;
use crate::transport::responder::Soundness;
use crate::transport::status::CompletionStatus;
use crate::verbs::abi::receive_wqe;
use crate::verbs::abi::receive_wqe::ReceiveWqe;
use crate::verbs::abi::receive_wqe::TooManyElements;
use crate::verbs::abi::scatter;
use crate::verbs::abi::scatter::SGE_SIZE;
use crate::verbs::elements::Elements;
use crate::verbs::queue::Taken;
use crate::verbs::queue::WorkQueue;

/// Bytes of the slot a receive with `max_sge` elements needs in a ring.
pub(crate) fn element_size(max_sge: u32) -> usize {
    receive_wqe::HEADER_SIZE + max_sge as usize * SGE_SIZE
}

/// A receive as the process posted it.
#[derive(Clone, Copy)]
pub(crate) struct Posted {
    /// The process's name for it.
    pub(crate) wr_id: u64,
    /// Bytes its buffers hold.
    pub(crate) length: u32,
    /// Whether it keeps to the queue's limits, and to those of messages.
    pub(crate) soundness: Soundness,
    /// Bytes of its elements.
    elements: usize,
}

impl Posted {
    /// Copies a receive out of its ring; its elements go to the start of `elements`, whose length
    /// is what the queue was made for.
    pub(crate) fn read(queue: &WorkQueue, taken: Taken, elements: &mut [u8]) -> Self {
        let mut header = [0; receive_wqe::HEADER_SIZE];
        queue.read(taken, 0, &mut header);
        let wr_id = receive_wqe::wr_id(&header);
        let max_sge = (elements.len() / SGE_SIZE) as u32;
        let broken = |status| Self {
            wr_id,
            length: 0,
            soundness: Soundness::Broken(status),
            elements: 0,
        };
        let size = match ReceiveWqe::decode(&header, max_sge) {
            Ok(wqe) => wqe.payload_size(),
            Err(TooManyElements(_)) => return broken(CompletionStatus::LocalQpOperationError),
        };
        queue.read(taken, receive_wqe::HEADER_SIZE, &mut elements[..size]);
        match scatter::total_length(&elements[..size]) {
            Some(length) => Self {
                wr_id,
                length,
                soundness: Soundness::Sound,
                elements: size,
            },
            None => broken(CompletionStatus::LocalLengthError),
        }
    }
}

/// The receives a QP has taken and not completed.
///
/// They complete in the order in which they were taken, so the places are used as a ring.
pub(crate) struct ReceiveStore {
    elements: KVVec<u8>,
    sizes: KVVec<usize>,
    stride: usize,
    head: usize,
    used: usize,
}

impl ReceiveStore {
    /// Room for `count` receives of at most `max_sge` elements.
    pub(crate) fn new(count: usize, max_sge: u32) -> Result<Self> {
        let stride = max_sge as usize * SGE_SIZE;
        Ok(Self {
            elements: KVVec::from_elem(0, count * stride, GFP_KERNEL_ACCOUNT)?,
            sizes: KVVec::from_elem(0, count, GFP_KERNEL_ACCOUNT)?,
            stride,
            head: 0,
            used: 0,
        })
    }

    /// Forgets all receives.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// The place after so many from the first, less than two rounds on.
    fn wrapped(&self, places: usize) -> usize {
        places.checked_sub(self.sizes.len()).unwrap_or(places)
    }

    /// Lets `fill` put a receive into the next place; nothing happens when there is none.
    pub(crate) fn add(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Option<Posted>,
    ) -> Option<(ReceiveSlot, Posted)> {
        if self.used == self.sizes.len() {
            return None;
        }
        let place = self.wrapped(self.head + self.used);
        let start = place * self.stride;
        let posted = fill(&mut self.elements[start..start + self.stride])?;
        self.sizes[place] = posted.elements;
        self.used += 1;
        Some((ReceiveSlot(place as u16), posted))
    }

    /// Frees the place of the oldest receive.
    pub(crate) fn remove(&mut self) {
        if self.used > 0 {
            self.head = self.wrapped(self.head + 1);
            self.used -= 1;
        }
    }

    /// The elements of a receive.
    pub(crate) fn elements(&self, slot: ReceiveSlot) -> Elements<'_> {
        let place = slot.0 as usize;
        let start = place * self.stride;
        Elements::new(&self.elements[start..start + self.sizes[place]])
    }
}
