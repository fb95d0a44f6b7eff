// SPDX-License-Identifier: GPL-2.0

//! Payloads of a reliable connection that have arrived for memory whose pages may not be present.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::paging::Kept;
use super::payload::Destination;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::service::PlacementToken;
use crate::base::clock;
use crate::transport::outcome::Outcome;
use crate::verbs::access_error::Stop;
use crate::verbs::mr::AccessDenied;
use crate::verbs::pieces::Pieces;
use crate::verbs::rdma::QpState;
use crate::verbs::route::TxHint;

/// A payload on its way into memory whose pages may not be present.
///
/// The QP's destruction and reset wait for it as for any other, but not for its pages.
#[must_use = "the peer sends a payload again that is not placed"]
pub(crate) struct OnDemandPlacement {
    qp: Arc<QueuePair>,
    token: PlacementToken,
    destination: Destination,
    /// `None` when the QP's work tells it.
    outcome: Option<Outcome>,
    hint: TxHint,
}

impl OnDemandPlacement {
    /// To be called when the QP is connected and not destroyed.
    pub(super) fn new(
        qp: &Arc<QueuePair>,
        state: &mut State,
        token: PlacementToken,
        destination: Destination,
    ) -> Self {
        state.placements += 1;
        Self {
            qp: qp.clone(),
            token,
            destination,
            outcome: Some(Outcome::Aborted),
            hint: TxHint::Deferred,
        }
    }

    /// Places the payload, now or when its pages have come. Allocates.
    pub(crate) fn place(mut self, bytes: &[u8], hint: TxHint) {
        self.hint = hint;
        self.outcome = self.copy(bytes);
    }

    fn copy(&self, bytes: &[u8]) -> Option<Outcome> {
        let denied = Some(Outcome::Denied(self.destination.denial()));
        let pieces = {
            let state = self.qp.state.lock();
            if !is_living(&state) {
                return Some(Outcome::Aborted);
            }
            let memory = self.qp.memory_of(&state, &self.destination);
            match memory.and_then(|memory| memory.pieces()) {
                Ok(pieces) => pieces,
                Err(AccessDenied) => return denied,
            }
        };
        let mut done = 0;
        match pieces.write(&self.qp.regions, bytes, &mut done) {
            Ok(()) => Some(Outcome::Placed),
            Err(Stop::Denied) => denied,
            Err(Stop::Absent) => match self.keep(&pieces, bytes, done) {
                Ok(()) => None,
                Err(_) => Some(Outcome::Postponed),
            },
        }
    }

    /// Leaves the rest to the QP's work. Fails with `ENOMEM` when that has enough to do, or is not to do anything any more.
    fn keep(&self, pieces: &Pieces, bytes: &[u8], done: usize) -> Result {
        let mut buffer = self.qp.pagers.buffer(bytes.len())?;
        buffer.bytes.copy_from_slice(bytes);
        let kept = Kept {
            pieces: *pieces,
            bytes: buffer,
            done,
            token: Some(self.token),
            denial: self.destination.denial(),
        };
        let kept = KBox::new(kept, GFP_KERNEL | __GFP_NOWARN)?;
        let mut state = self.qp.state.lock();
        // Who has ended the QP's life meanwhile has not seen it.
        let refused = if is_living(&state) {
            state.paging.keep(kept)
        } else {
            Err(kept)
        };
        if refused.is_ok() {
            self.qp.start_pager();
        }
        drop(state);
        // What is refused is freed without the lock.
        refused.map_err(|_| ENOMEM)
    }
}

impl Drop for OnDemandPlacement {
    fn drop(&mut self) {
        let now = clock::now();
        let mut guard = self.qp.state.lock();
        let state = &mut *guard;
        if let Some(outcome) = self.outcome {
            let mut inbox = self.qp.inbox(&mut state.receive_queue);
            state
                .service
                .handle_payload(self.token, outcome, &mut inbox, now);
        }
        state.end_placement(&self.qp.settled);
        let rails = self.qp.process_events(state, now);
        self.qp.schedule(guard, rails, self.hint);
    }
}

/// Whether the QP has neither failed nor been reset.
fn is_living(state: &State) -> bool {
    match state.state {
        QpState::Err | QpState::Reset | QpState::Init => false,
        QpState::Rtr | QpState::Rts | QpState::Sqd | QpState::Sqe => true,
    }
}
