// SPDX-License-Identifier: GPL-2.0

//! Changing the state and the attributes of a QP.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::attributes::Attributes;
use super::attributes::DrainedEvent;
use super::limits::LIMITS;
use super::limits::SEGMENT;
use super::queue_pair::EarlyRequest;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use crate::base::clock;
use crate::transport::connection::Tuning;
use crate::transport::final_acks::FinalAck;
use crate::transport::ids::Instant;
use crate::transport::requester::RequesterConfig;
use crate::transport::responder::ResponderConfig;
use crate::transport::timing::AckTimeout;
use crate::transport::timing::RetryLimit;
use crate::transport::timing::RnrTimer;
use crate::verbs::rdma::QpModify;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::QpType;
use crate::verbs::rdma::Transition;
use crate::verbs::route::TxHint;

impl State {
    /// Keeps to the peer's limits, as soon as they are known. A rail that asks for a frame is up, so they
    /// are before anything is sent.
    pub(super) fn agree(&mut self) {
        if !self.connection.awaits_limits() {
            return;
        }
        if let Some(limits) = self.route.get().and_then(|route| route.limits()) {
            self.connection.handle_limits(&limits);
        }
    }
}

impl QueuePair {
    /// See [`QpOps::modify`](crate::verbs::rdma::QpOps::modify): one call at a time.
    ///
    /// When the QP has been reset, nothing of its former life changes memory of the process any more.
    pub(super) fn change(self: &Arc<Self>, change: &QpModify<'_>) -> Result {
        let (now, attributes) = {
            let state = self.state.lock();
            (state.state, state.attributes)
        };
        change.transition(now, QpType::Rc)?;
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
        let transition = change.transition(state.state, QpType::Rc)?;
        let attributes = state.attributes.with(change)?;
        let old_route = match (transition.to, route) {
            (QpState::Reset, _) => state.route.replace(self, None),
            (_, Some(route)) => {
                state.connection.handle_new_path();
                state.route.replace(self, Some(route))
            }
            (_, None) => None,
        };
        state.attributes = attributes;
        let final_ack = self.apply(state, transition, now);
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
        if let Some((final_ack, route)) = final_ack.zip(old_route) {
            route.final_ack(final_ack);
            route.outwait(self.qpn);
        }
        if transition.to == QpState::Reset {
            self.await_placements();
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
                    Self::tune(state, now);
                }
                state.connection.drain();
                state.state = to;
            }
            QpState::Rtr => {
                let config = self.responder_config(&state.attributes);
                state.connection.start_responder(config);
                if state.early_request == EarlyRequest::Dropped {
                    state.early_request = EarlyRequest::NotSeen;
                    state.connection.announce_ready();
                }
                state.state = to;
            }
            QpState::Rts => {
                if from == QpState::Rtr {
                    let config = self.requester_config(&state.attributes);
                    state.connection.start_requester(config);
                }
                Self::tune(state, now);
                state.connection.resume(now);
                // Leaving SQD cancels SQ_DRAINED.
                state.attributes.drained_event = DrainedEvent::Unwanted;
                state.state = to;
            }
        }
        None
    }

    /// Has the attributes that a connected QP may change take effect.
    fn tune(state: &mut State, now: Instant) {
        let attributes = &state.attributes;
        let tuning = Tuning {
            timeout: AckTimeout::new(attributes.timeout),
            retry: RetryLimit::from_retry_count(attributes.retry_count),
            rnr_retry: RetryLimit::from_rnr_retry(attributes.rnr_retry),
            max_rd_atomic: attributes.max_rd_atomic,
            rnr_timer: RnrTimer::new(attributes.min_rnr_timer),
            max_dest_rd_atomic: attributes.max_dest_rd_atomic,
        };
        state.connection.tune(&tuning, now);
    }

    /// Forgets everything but what the QP was created with. Returns the final ACK, if any.
    pub(super) fn reset(state: &mut State) -> Option<FinalAck> {
        state.state = QpState::Reset;
        state.attributes = Attributes::new();
        let final_ack = state.connection.reset();
        state.send_queue.discard();
        state.receive_queue.reset();
        state.early_request = EarlyRequest::NotSeen;
        state.flush_interval_ms = None;
        final_ack
    }

    fn responder_config(&self, attributes: &Attributes) -> ResponderConfig {
        ResponderConfig {
            local_qpn: self.qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.rq_psn,
            window: LIMITS.window,
            max_dest_rd_atomic: attributes.max_dest_rd_atomic,
            rnr_timer: RnrTimer::new(attributes.min_rnr_timer),
        }
    }

    fn requester_config(&self, attributes: &Attributes) -> RequesterConfig {
        RequesterConfig {
            local_qpn: self.qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.sq_psn,
            segment: SEGMENT,
            window: LIMITS.window,
            max_rd_atomic: attributes.max_rd_atomic,
            timeout: AckTimeout::new(attributes.timeout),
            retry: RetryLimit::from_retry_count(attributes.retry_count),
            rnr_retry: RetryLimit::from_rnr_retry(attributes.rnr_retry),
        }
    }
}
