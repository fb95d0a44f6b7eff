// SPDX-License-Identifier: GPL-2.0

//! A QP's work that waits for pages.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use kernel::workqueue::WorkItem;

use super::paging::Fetch;
use super::paging::Kept;
use super::paging::Progress;
use super::paging::Task;
use super::payload::Outgoing;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::queue_pair::PAGER;
use super::service::PlacementToken;
use crate::base::clock;
use crate::transport::outcome::Outcome;
use crate::verbs::access_error::Stop;
use crate::verbs::mr::AccessDenied;
use crate::verbs::pagers::PayloadBuffer;
use crate::verbs::pieces::Pieces;
use crate::verbs::rdma::PageUse;
use crate::verbs::route::TxHint;

/// How often in a row a page is made present in vain, as it has gone again when it is looked for: a process that takes its
/// memory away that fast counts as one that has none there.
const MAX_TRIES: u32 = 256;

/// How long the work sleeps when there is no memory for what it fetches.
const NO_MEMORY_DELAY: Delta = Delta::from_millis(1);

/// How waiting for a page has ended.
enum Wait {
    /// It was there.
    Over,
    /// What it was for is not wanted any more.
    Pointless,
}

impl QueuePair {
    /// Has the QP's work look for tasks.
    pub(super) fn start_pager(self: &Arc<Self>) {
        // If it is in the queue already, it finds them.
        let _ = self.pagers.queue().enqueue::<_, PAGER>(self.clone());
    }

    fn is_life(&self, life: u32) -> bool {
        self.state.lock().paging.life == life
    }

    /// Waits for the page with byte `at`, for the `tries`th time in a row.
    fn await_page(
        &self,
        pieces: &Pieces,
        at: usize,
        page_use: PageUse,
        tries: u32,
        life: u32,
    ) -> Result<Wait, AccessDenied> {
        if tries > MAX_TRIES {
            return Err(AccessDenied);
        }
        pieces.fault_in(&self.regions, at, page_use)?;
        Ok(if self.is_life(life) {
            Wait::Over
        } else {
            Wait::Pointless
        })
    }

    /// Fetches a payload. `None` when it is not wanted any more.
    fn fetch(
        &self,
        len: usize,
        pieces: Result<Pieces, AccessDenied>,
        life: u32,
    ) -> Option<Result<PayloadBuffer, AccessDenied>> {
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(AccessDenied) => return Some(Err(AccessDenied)),
        };
        let mut buffer = loop {
            match self.pagers.buffer(len) {
                Ok(buffer) => break buffer,
                Err(_) if self.is_life(life) => fsleep(NO_MEMORY_DELAY),
                Err(_) => return None,
            }
        };
        let mut done = 0;
        let mut tries = 0;
        loop {
            let before = done;
            match pieces.read(&self.regions, &mut buffer.bytes, &mut done) {
                Ok(()) => return Some(Ok(buffer)),
                Err(Stop::Denied) => return Some(Err(AccessDenied)),
                Err(Stop::Absent) => {}
            }
            tries = if done > before { 1 } else { tries + 1 };
            match self.await_page(&pieces, done, PageUse::Read, tries, life) {
                Ok(Wait::Over) => {}
                Ok(Wait::Pointless) => return None,
                Err(AccessDenied) => return Some(Err(AccessDenied)),
            }
        }
    }

    fn fetch_and_tell(
        self: &Arc<Self>,
        payload: Outgoing,
        pieces: Result<Pieces, AccessDenied>,
        life: u32,
    ) {
        let Some(result) = self.fetch(payload.len(), pieces, life) else {
            return;
        };
        let now = clock::now();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.paging.life != life {
            drop(guard);
            return;
        }
        state.paging.fetch = Fetch::Ready { payload, result };
        state.service.restart_timer(now);
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
    }

    /// Places a payload that was kept, unless the QP's life ends meanwhile.
    fn place_kept(self: &Arc<Self>, kept: &mut Kept, token: PlacementToken, life: u32) {
        let mut tries = 0;
        loop {
            if !self.begin_copying(life) {
                return;
            }
            let before = kept.done;
            let copied = kept
                .pieces
                .write(&self.regions, &kept.bytes.bytes, &mut kept.done);
            let outcome = match copied {
                Ok(()) => Some(Outcome::Placed),
                Err(Stop::Denied) => Some(Outcome::Denied(kept.denial)),
                Err(Stop::Absent) => None,
            };
            if !self.end_copying(token, outcome, life) {
                return;
            }
            tries = if kept.done > before { 1 } else { tries + 1 };
            match self.await_page(&kept.pieces, kept.done, PageUse::Write, tries, life) {
                Ok(Wait::Over) => {}
                Ok(Wait::Pointless) => return,
                Err(AccessDenied) => {
                    if self.begin_copying(life) {
                        let denied = Outcome::Denied(kept.denial);
                        self.end_copying(token, Some(denied), life);
                    }
                    return;
                }
            }
        }
    }

    /// From now on until [`Self::end_copying`], who ends the QP's life waits. Fails when that has happened.
    fn begin_copying(&self, life: u32) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.paging.life != life {
            return false;
        }
        if let Some(placing) = &mut state.paging.placing {
            placing.progress = Progress::Copying;
        }
        state.placements += 1;
        true
    }

    /// Tells what became of the payload, if that is known. Whether it is to be gone on with.
    fn end_copying(
        self: &Arc<Self>,
        token: PlacementToken,
        outcome: Option<Outcome>,
        life: u32,
    ) -> bool {
        let now = clock::now();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let outcome = match outcome {
            None if state.paging.life != life => Some(Outcome::Aborted),
            outcome => outcome,
        };
        match outcome {
            Some(outcome) => {
                state.paging.placing = None;
                let mut inbox = self.inbox(&mut state.receive_queue);
                state
                    .service
                    .handle_payload(token, outcome, &mut inbox, now);
            }
            None => {
                if let Some(placing) = &mut state.paging.placing {
                    placing.progress = Progress::Waiting;
                }
            }
        }
        state.end_placement(&self.settled);
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
        outcome.is_none()
    }

    /// The QP has failed: what waits for pages is not waited for.
    pub(super) fn abort_paging(&self, state: &mut State) {
        let now = clock::now();
        state.paging.end_life();
        while let Some(token) = state.paging.abort_next() {
            let mut inbox = self.inbox(&mut state.receive_queue);
            state
                .service
                .handle_payload(token, Outcome::Aborted, &mut inbox, now);
        }
    }
}

impl WorkItem<PAGER> for QueuePair {
    type Pointer = Arc<QueuePair>;

    fn run(this: Arc<QueuePair>) {
        loop {
            let (task, life) = {
                let mut state = this.state.lock();
                (state.paging.next_task(), state.paging.life)
            };
            match task {
                Some(Task::Fetch(payload)) => {
                    // If the QP's life has ended meanwhile, nobody wants to know what was there.
                    let pieces = this.pieces_to_send(&this.state.lock(), &payload);
                    this.fetch_and_tell(payload, pieces, life);
                }
                Some(Task::Place(mut kept, token)) => this.place_kept(&mut kept, token, life),
                Some(Task::Free { .. }) => {}
                None => return,
            }
        }
    }
}
