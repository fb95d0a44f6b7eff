// SPDX-License-Identifier: GPL-2.0

//! Changing the state and the attributes of a QP.

use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

use super::attributes::Attributes;
use super::attributes::DrainedEvent;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use crate::base::clock;
use crate::transport::final_acks::FinalAck;
use crate::transport::ids::Instant;
use crate::verbs::rdma::QpModify;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::Transition;
use crate::verbs::route::TxHint;

impl State {
    /// Keeps to the peer's limits, as soon as they are known. A rail that asks for a frame is up, so they
    /// are before anything is sent.
    pub(super) fn agree(&mut self) {
        if !self.service.awaits_limits() {
            return;
        }
        let Some(route) = self.route.get() else {
            return;
        };
        if let Some((limits, features)) = route.limits().zip(route.features()) {
            self.service.handle_limits(&limits, features);
            if !features.contains(self.service.needs()) {
                route.log_unable(self.service.name());
            }
        }
    }
}

impl QueuePair {
    /// See [`QpOps::modify`](crate::verbs::rdma::QpOps::modify): one call at a time.
    ///
    /// When the QP has been reset, nothing of its former life changes its user's memory any more.
    pub(super) fn change(self: &Arc<Self>, change: &QpModify<'_>) -> Result {
        let (now, attributes) = {
            let state = self.state.lock();
            (state.state, state.attributes)
        };
        change.transition(now, self.qp_type)?;
        let host = attributes.with(change)?.host();
        let route = match (change.path(), host) {
            (Some(_), Some(host)) => Some(self.routes.route(host)?),
            (Some(_) | None, _) => None,
        };

        if let Some(route) = &route {
            route.withdraw_final_ack(self.qpn);
        }

        let now = clock::now();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // The QP may have failed meanwhile, or its send queue may have drained.
        let transition = change.transition(state.state, self.qp_type)?;
        let attributes = state.attributes.with(change)?;
        let old_route = match (transition.to, route) {
            (QpState::Reset, _) => state.route.replace(self, None),
            (_, Some(route)) => {
                state.service.handle_new_path();
                state.route.replace(self, Some(route))
            }
            (_, None) => None,
        };
        state.attributes = attributes;
        let final_ack = self.apply(state, transition, now);
        let takes_requests = match state.state {
            QpState::Reset | QpState::Init | QpState::Rtr => false,
            QpState::Rts | QpState::Sqd | QpState::Sqe | QpState::Err => true,
        };
        self.takes_requests.store(takes_requests, Relaxed);
        self.flushes_receives
            .store(state.state == QpState::Err, Relaxed);
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
        if let Some(route) = old_route.filter(|_| transition.to == QpState::Reset) {
            if let Some(final_ack) = final_ack {
                route.final_ack(final_ack);
            }
            route.outwait(self.qpn);
        }
        if transition.to == QpState::Reset {
            self.await_payloads();
        }
        Ok(())
    }

    /// Carries out a change of state. Returns the final ACK of a QP that is reset, if any.
    fn apply(&self, state: &mut State, transition: Transition, now: Instant) -> Option<FinalAck> {
        let Transition { from, to } = transition;
        match to {
            QpState::Reset => return Self::reset(state),
            QpState::Err => self.fail(state),
            QpState::Init | QpState::Sqe => state.state = to,
            QpState::Sqd => {
                if from == QpState::Sqd {
                    state.service.tune(&state.attributes, now);
                }
                state.service.drain();
                state.state = to;
            }
            QpState::Rtr => {
                state.service.start_receiving(self.qpn, &state.attributes);
                state.state = to;
            }
            QpState::Rts => {
                if from == QpState::Rtr {
                    state.service.start_sending(self.qpn, &state.attributes);
                }
                state.service.tune(&state.attributes, now);
                state.service.resume(now);
                // Leaving SQD cancels SQ_DRAINED.
                state.attributes.drained_event = DrainedEvent::Unwanted;
                state.state = to;
            }
        }
        None
    }

    /// Forgets everything but what the QP was created with. Returns the final ACK, if any.
    pub(super) fn reset(state: &mut State) -> Option<FinalAck> {
        state.state = QpState::Reset;
        state.attributes = Attributes::new();
        let final_ack = state.service.reset();
        // What would become of them is of the life that has ended.
        state.paging.end_life();
        while state.paging.abort_next().is_some() {}
        state.send_queue.discard();
        state.receive_queue.reset();
        state.held = None;
        state.flush_interval_ms = None;
        state.ending = None;
        final_ack
    }
}
