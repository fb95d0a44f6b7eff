// SPDX-License-Identifier: GPL-2.0

//! A QP's delayed work: the protocol's timers, and the search for receives to be flushed.
//!
//! Arming is lazy: work that is due later than the newest deadline is left alone, and looks again when
//! it runs. So a busy connection does not touch the timer wheel for every frame.

use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;
use kernel::workqueue::WorkItem;

use super::queue_pair::Backlog;
use super::queue_pair::QpRoute;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::queue_pair::FLUSHER;
use super::queue_pair::POSTER;
use super::queue_pair::TIMER;
use crate::base::clock;
use crate::base::delayed_work;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::Rails;
use crate::verbs::rdma::QpState;
use crate::verbs::route::TxHint;
use crate::verbs::route_slot::RouteSlot;

/// How soon the QP's own work goes on with what was too much at a time: late enough for it to take no more than a small
/// share of a processor.
const BACKLOG_DELAY_MS: Msecs = 1;
/// How soon after entering the error state receives posted since are looked for.
const FLUSH_INTERVAL_MIN_MS: Msecs = 5;
/// How often at least, as long as the QP is in the error state.
const FLUSH_INTERVAL_MAX_MS: Msecs = 320;

/// The rails of a route as the requester sees them; none without a route.
pub(super) struct RailsOf<'a>(pub(super) &'a RouteSlot<QpRoute>);

impl Rails for RailsOf<'_> {
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus {
        match self.0.get() {
            Some(route) => route.rails().frame_status(rail, seq),
            None => FrameStatus::Settled,
        }
    }

    fn up(&self) -> RailSet {
        self.0
            .get()
            .map_or(RailSet::NONE, |route| route.rails().up())
    }

    fn answering(&self) -> RailSet {
        self.0
            .get()
            .map_or(RailSet::NONE, |route| route.rails().answering())
    }
}

impl QueuePair {
    /// Makes sure the timer work runs when the protocol's next deadline comes.
    pub(super) fn arm_timer(self: &Arc<Self>, state: &mut State) {
        // What is not sent for want of its payload is not answered either.
        if state.paging.is_fetching() {
            return;
        }
        let Some(deadline) = state.service.poll_timeout() else {
            return;
        };
        if state.timer_at.is_none_or(|at| deadline < at) {
            state.timer_at = Some(deadline);
            delayed_work::arm::<_, TIMER>(
                self.workers.queue(),
                self,
                clock::jiffies_until(deadline),
            );
        }
    }

    /// Starts looking, unless that was done, for receives that are posted to a QP in the error state.
    /// There is no doorbell for them.
    pub(super) fn start_flusher(self: &Arc<Self>, state: &mut State) {
        if state.flush_interval_ms.is_none() {
            state.flush_interval_ms = Some(FLUSH_INTERVAL_MIN_MS);
            self.flush_in(FLUSH_INTERVAL_MIN_MS);
        }
    }

    /// Has the QP's own work post what a user in the kernel has posted.
    pub(super) fn post_later(self: &Arc<Self>) {
        delayed_work::arm::<_, POSTER>(self.workers.queue(), self, 0);
    }

    /// Goes on soon, in the QP's own work.
    pub(super) fn process_events_later(self: &Arc<Self>) {
        self.flush_in(BACKLOG_DELAY_MS);
    }

    fn flush_in(self: &Arc<Self>, delay: Msecs) {
        delayed_work::arm::<_, FLUSHER>(self.workers.queue(), self, msecs_to_jiffies(delay));
    }
}

impl WorkItem<TIMER> for QueuePair {
    type Pointer = Arc<QueuePair>;

    fn run(this: Arc<QueuePair>) {
        let now = clock::now();
        let mut guard = this.state.lock();
        let state = &mut *guard;
        state.timer_at = None;
        if state.route.get().is_some() && !state.paging.is_fetching() {
            state.service.handle_timeout(now, &RailsOf(&state.route));
        }
        let rails = this.process_events(state, now);
        this.schedule(guard, rails, TxHint::Deferred);
    }
}

impl WorkItem<POSTER> for QueuePair {
    type Pointer = Arc<QueuePair>;

    fn run(this: Arc<QueuePair>) {
        let now = clock::now();
        let mut guard = this.state.lock();
        let rails = this.process_events(&mut guard, now);
        let hint = Self::hint_of_posts(&guard);
        this.schedule(guard, rails, hint);
    }
}

impl WorkItem<FLUSHER> for QueuePair {
    type Pointer = Arc<QueuePair>;

    fn run(this: Arc<QueuePair>) {
        let mut guard = this.state.lock();
        let state = &mut *guard;
        if state.is_destroyed {
            return;
        }
        let rails = this.process_events(state, clock::now());
        // A receive that is held back has armed it already.
        let is_idle = state.backlog == Backlog::Clear && state.held.is_none();
        if is_idle && state.state == QpState::Err {
            let interval = state
                .flush_interval_ms
                .map_or(FLUSH_INTERVAL_MIN_MS, |last| {
                    (last * 2).min(FLUSH_INTERVAL_MAX_MS)
                });
            state.flush_interval_ms = Some(interval);
            this.flush_in(interval);
        }
        this.schedule(guard, rails, TxHint::Deferred);
    }
}
