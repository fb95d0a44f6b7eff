// SPDX-License-Identifier: GPL-2.0

//! Last acknowledgements of QPs that are gone.
//!
//! A process may destroy its QP as soon as it has seen its last message. Without an acknowledgement the
//! peer would repeat that message until it fails.

use crate::transport::frame::AckHeader;

/// How many wait at most; when there are more, the oldest are dropped, and their peers time out.
const CAPACITY: usize = 64;

/// A bounded queue.
pub(crate) struct Farewells {
    entries: [Option<AckHeader>; CAPACITY],
    head: usize,
    len: usize,
}

impl Farewells {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self {
            entries: [None; CAPACITY],
            head: 0,
            len: 0,
        }
    }

    /// Adds one at the end.
    pub(crate) fn push(&mut self, ack: AckHeader) {
        self.entries[(self.head + self.len) % CAPACITY] = Some(ack);
        if self.len == CAPACITY {
            self.head = (self.head + 1) % CAPACITY;
        } else {
            self.len += 1;
        }
    }

    /// Takes the first.
    pub(crate) fn pop(&mut self) -> Option<AckHeader> {
        if self.len == 0 {
            return None;
        }
        let ack = self.entries[self.head].take();
        self.head = (self.head + 1) % CAPACITY;
        self.len -= 1;
        ack
    }
}
