// SPDX-License-Identifier: GPL-2.0

//! Which payloads of a queue pair of the kernel are on their way out.

use kernel::prelude::*;

use crate::transport::ids::MessageSlot;
use crate::verbs::pd::Owner;

/// Who reads memory that is on its way out.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// This request.
    Request(MessageSlot),
    /// A request of the peer, which is answered. The region stays until the answer has left, but its memory may go when the
    /// queue pair is flushed.
    Peer,
}

/// How many segments of each request are on their way out, and of answers to the peer, if it matters.
pub(super) struct Departures {
    by_slot: KVVec<u16>,
    total: u32,
}

impl Departures {
    /// None yet, of that many requests of a QP of `owner`.
    pub(super) fn new(requests: usize, owner: Owner) -> Result<Self> {
        let counted = match owner {
            Owner::Kernel => requests,
            Owner::Process => 0,
        };
        Ok(Self {
            by_slot: KVVec::from_elem(0, counted, GFP_KERNEL_ACCOUNT)?,
            total: 0,
        })
    }

    /// Whether they are counted.
    pub(super) fn are_counted(&self) -> bool {
        !self.by_slot.is_empty()
    }

    /// All of them.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Whether there is one of this request.
    pub(super) fn is_leaving(&self, slot: MessageSlot) -> bool {
        self.by_slot
            .get(usize::from(slot.0))
            .is_some_and(|&count| count > 0)
    }

    /// One more.
    pub(super) fn begin(&mut self, reader: Reader) {
        if let Some(count) = self.of_request(reader) {
            // Rails hold a few each.
            *count += 1;
        }
        self.total += 1;
    }

    /// One less.
    pub(super) fn end(&mut self, reader: Reader) {
        if let Some(count) = self.of_request(reader) {
            *count -= 1;
        }
        self.total -= 1;
    }

    fn of_request(&mut self, reader: Reader) -> Option<&mut u16> {
        match reader {
            Reader::Request(slot) => self.by_slot.get_mut(usize::from(slot.0)),
            Reader::Peer => None,
        }
    }
}
