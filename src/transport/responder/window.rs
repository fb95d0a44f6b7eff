// SPDX-License-Identifier: GPL-2.0

//! The window of requests: which have arrived, and what became of them so far.

use super::nak::NakCause;
use super::RequestSlot;
use crate::transport::ids::Psn;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// Whether several copies of a request have arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Copies {
    /// There is none but the one that is being placed.
    One,
    /// Another has been dropped, and may be the last that the sender has sent.
    Dropped,
}

/// What is known of a PSN in the window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum SlotState {
    /// Nothing has arrived.
    #[default]
    Empty,
    /// The payload of the segment is being placed.
    Placing(Copies),
    /// All is done but the processing in order.
    Placed,
    /// Its turn has come: it is to be carried out in memory.
    Due,
    /// It is being carried out.
    Executing,
    /// It cannot be taken: a NAK will say so when its turn comes.
    Nak(NakCause),
}

/// Requests that may arrive.
///
/// # Invariants
///
/// Only slots `base..base + size` are not [`SlotState::Empty`].
pub(super) struct RequestWindow<S: Storage> {
    slots: Ring<S, RequestSlot>,
    /// All requests before this one have been processed.
    base: Psn,
    /// A power of two.
    size: u32,
}

impl<S: Storage> RequestWindow<S> {
    pub(super) fn new(slots: Ring<S, RequestSlot>) -> Self {
        Self {
            slots,
            base: Psn::new(0),
            size: 1,
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.slots.len()
    }

    /// Nothing has arrived.
    pub(super) fn reset(&mut self) {
        for number in 0..self.slots.len() {
            self.slots.at_mut(number).state = SlotState::Empty;
        }
        self.base = Psn::new(0);
        self.size = 1;
    }

    /// Begins, once it has been reset, with the PSN `initial`. `size` is a power of two, at most [`Self::capacity`].
    pub(super) fn start(&mut self, initial: Psn, size: u32) {
        self.base = initial;
        self.size = size;
    }

    /// The next request to be processed.
    pub(super) const fn base(&self) -> Psn {
        self.base
    }

    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn at(&self, psn: Psn) -> &RequestSlot {
        self.slots.at(psn.get())
    }

    pub(super) fn at_mut(&mut self, psn: Psn) -> &mut RequestSlot {
        self.slots.at_mut(psn.get())
    }

    /// The request at the base has been processed.
    pub(super) fn pop_first(&mut self) {
        self.at_mut(self.base).state = SlotState::Empty;
        self.base = self.base.next();
    }
}
