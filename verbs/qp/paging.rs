// SPDX-License-Identifier: GPL-2.0

//! Payloads of a QP in memory whose pages may not be present, and what is being done about it.
//!
//! They are copied without sleeping where that is possible. Else the QP's own work (`pager`) waits for the pages, with no lock
//! and no region held: it may take as long as the process likes, and the process must be able to end meanwhile. A payload
//! that is to be sent waits to be asked for again when it has been fetched; one that was received is kept until it can be placed.

use kernel::prelude::*;

use super::payload::Outgoing;
use super::service::PlacementToken;
use crate::transport::status::NakCode;
use crate::verbs::memory_key::AccessDenied;
use crate::verbs::pagers::PayloadBuffer;
use crate::verbs::pieces::Pieces;

/// Received payloads of a QP that wait for pages at a time; those beyond are asked for again.
const MAX_KEPT: usize = 16;

/// Whether there is anything at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// There is not: as long as nothing but pinned memory is used, this is all that is looked at.
    Nothing,
    Something,
}

/// What is to be fetched, and how far that is.
pub(super) enum Fetch {
    Idle,
    Wanted(Outgoing),
    Running,
    Ready {
        payload: Outgoing,
        result: Result<PayloadBuffer, AccessDenied>,
    },
}

/// A received payload that waits for pages.
pub(super) struct Kept {
    pub(super) pieces: Pieces,
    pub(super) bytes: PayloadBuffer,
    /// So many bytes are in place.
    pub(super) done: usize,
    /// `None` when somebody else has told what became of it.
    pub(super) token: Option<PlacementToken>,
    /// What the peer is told if the memory cannot be had.
    pub(super) denial: NakCode,
}

/// The payload that the work is placing.
pub(super) struct Placing {
    pub(super) token: PlacementToken,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Pages are waited for: whoever ends the QP's life need not wait.
    Waiting,
    /// The work is copying, and tells what became of it.
    Copying,
}

/// Payloads of a QP that wait for pages. Those with buffers are let go of by the work: freeing may sleep.
pub(super) struct Paging {
    activity: Activity,
    /// Changes when what was begun before is not to be carried on.
    pub(super) life: u32,
    pub(super) fetch: Fetch,
    /// Has been sent.
    spent: Option<PayloadBuffer>,
    kept: [Option<KBox<Kept>>; MAX_KEPT],
    first: usize,
    count: usize,
    pub(super) placing: Option<Placing>,
}

/// What the work does next.
pub(super) enum Task {
    Fetch(Outgoing),
    Place(KBox<Kept>, PlacementToken),
    Free {
        _buffer: Option<PayloadBuffer>,
        _kept: Option<KBox<Kept>>,
    },
}

impl Paging {
    pub(super) const fn new() -> Self {
        Self {
            activity: Activity::Nothing,
            life: 0,
            fetch: Fetch::Idle,
            spent: None,
            kept: [const { None }; MAX_KEPT],
            first: 0,
            count: 0,
            placing: None,
        }
    }

    /// Whether a payload is being fetched, before which nothing is sent.
    pub(super) fn is_fetching(&self) -> bool {
        self.activity == Activity::Something
            && matches!(self.fetch, Fetch::Wanted(_) | Fetch::Running)
    }

    /// Has a payload fetched. None may be being fetched.
    pub(super) fn want(&mut self, payload: Outgoing) {
        self.activity = Activity::Something;
        self.fetch = Fetch::Wanted(payload);
    }

    /// Puts the payload into `to`, if it has been fetched, or could not be. If another one has, that is forgotten.
    pub(super) fn take(
        &mut self,
        payload: Outgoing,
        to: &mut [u8],
    ) -> Option<Result<(), AccessDenied>> {
        let (fetched, result) = match core::mem::replace(&mut self.fetch, Fetch::Idle) {
            Fetch::Ready { payload, result } => (payload, result),
            other => {
                self.fetch = other;
                return None;
            }
        };
        let taken = match &result {
            _ if fetched != payload => None,
            Ok(buffer) => buffer.bytes.get(..to.len()).map(|bytes| {
                to.copy_from_slice(bytes);
                Ok(())
            }),
            Err(AccessDenied) => Some(Err(AccessDenied)),
        };
        self.spent = result.ok();
        taken
    }

    /// A payload was sent that needed no fetching: what has been fetched of its like is not going to be asked for.
    pub(super) fn note_sent(&mut self, sent: Outgoing) {
        if self.activity == Activity::Nothing {
            return;
        }
        if let Fetch::Ready { payload, .. } = &self.fetch {
            if payload.is_like(&sent) {
                self.forget_fetched();
            }
        }
    }

    fn forget_fetched(&mut self) {
        // Nothing else is spent then: the work lets go of that before it fetches.
        if let Fetch::Ready { result, .. } = core::mem::replace(&mut self.fetch, Fetch::Idle) {
            self.spent = result.ok();
        }
    }

    /// Whether there is something to do for the work.
    pub(super) fn has_task(&self) -> bool {
        self.activity == Activity::Something
            && (self.spent.is_some()
                || matches!(self.fetch, Fetch::Wanted(_))
                || (self.count > 0 && self.placing.is_none()))
    }

    /// Nothing of what was begun is to be carried on. [`Self::abort_next`] gives what is left of it.
    pub(super) fn end_life(&mut self) {
        self.life = self.life.wrapping_add(1);
        self.forget_fetched();
    }

    /// A payload that will not be placed, as the QP's life has ended.
    pub(super) fn abort_next(&mut self) -> Option<PlacementToken> {
        if let Some(Placing {
            token,
            progress: Progress::Waiting,
        }) = self.placing
        {
            self.placing = None;
            return Some(token);
        }
        self.kept
            .iter_mut()
            .flatten()
            .find_map(|kept| kept.token.take())
    }

    /// Keeps a payload until the work can place it, if there is room.
    pub(super) fn keep(&mut self, kept: KBox<Kept>) -> Result<(), KBox<Kept>> {
        let place = (self.first + self.count) % MAX_KEPT;
        if self.count == MAX_KEPT {
            return Err(kept);
        }
        self.activity = Activity::Something;
        self.kept[place] = Some(kept);
        self.count += 1;
        Ok(())
    }

    fn next_kept(&mut self) -> Option<KBox<Kept>> {
        let kept = self.kept[self.first].take()?;
        self.first = (self.first + 1) % MAX_KEPT;
        self.count -= 1;
        Some(kept)
    }

    /// What the work does next.
    pub(super) fn next_task(&mut self) -> Option<Task> {
        if let Some(buffer) = self.spent.take() {
            return Some(Task::Free {
                _buffer: Some(buffer),
                _kept: None,
            });
        }
        if let Fetch::Wanted(payload) = self.fetch {
            self.fetch = Fetch::Running;
            return Some(Task::Fetch(payload));
        }
        let Some(kept) = self.next_kept() else {
            if let (Fetch::Idle, None) = (&self.fetch, &self.placing) {
                self.activity = Activity::Nothing;
            }
            return None;
        };
        Some(match kept.token {
            Some(token) => {
                self.placing = Some(Placing {
                    token,
                    progress: Progress::Waiting,
                });
                Task::Place(kept, token)
            }
            None => Task::Free {
                _buffer: None,
                _kept: Some(kept),
            },
        })
    }
}
