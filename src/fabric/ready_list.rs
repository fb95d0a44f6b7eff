// SPDX-License-Identifier: GPL-2.0

//! QPs that have frames to send, each at most once, in the order in which they are asked.

use kernel::list::List;
use kernel::list::ListArc;
use kernel::sync::Arc;

use crate::verbs::qp::QueuePair;
use crate::verbs::route_slot::Attached;

/// A queue of QPs.
///
/// # Invariants
///
/// `list` holds `len` QPs.
pub(crate) struct ReadyList {
    list: List<QueuePair>,
    len: usize,
}

impl ReadyList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            list: List::new(),
            len: 0,
        }
    }

    /// How many QPs there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a QP at the end, unless it is in the list.
    pub(crate) fn push(&mut self, qp: &Attached<'_, Arc<QueuePair>>) {
        if let Some(entry) = ListArc::try_from_arc_borrow(qp.member().as_arc_borrow()) {
            self.list.push_back(entry);
            self.len += 1;
        }
    }

    /// Takes the first QP.
    ///
    /// The caller must not drop it with a spinlock held.
    pub(crate) fn pop(&mut self) -> Option<Arc<QueuePair>> {
        let entry = self.list.pop_front()?;
        self.len -= 1;
        Some(entry.into_arc())
    }

    /// Takes a QP out, if it is in the list. Its owner keeps it alive.
    pub(crate) fn remove(&mut self, qp: &Attached<'_, Arc<QueuePair>>) {
        // SAFETY: Only the list of the route that a QP's slot names gets the QP as `Attached`, so it is in no other
        // list: it is taken out of that one before the slot names another route. The slot is locked meanwhile.
        if let Some(entry) = unsafe { self.list.remove(qp.member()) } {
            self.len -= 1;
            drop(entry);
        }
    }
}
