// SPDX-License-Identifier: GPL-2.0

//! Segments of unreliable connections on their way out.

use kernel::sync::Arc;

use super::queue_pair::QueuePair;
use crate::base::clock;
use crate::transport::unreliable::DepartureToken;
use crate::verbs::route::TxHint;

/// A segment of an unreliable connection on its way out. When it is dropped, its payload has left.
///
/// Who drops it holds no spinlock: the QP is locked, and may go.
pub(crate) struct Departure {
    qp: Arc<QueuePair>,
    token: DepartureToken,
}

impl Departure {
    pub(super) fn new(qp: &Arc<QueuePair>, token: DepartureToken) -> Self {
        Self {
            qp: qp.clone(),
            token,
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut guard = self.qp.state.lock();
        let state = &mut *guard;
        if let Some(unreliable) = state.service.unreliable() {
            unreliable.connection.handle_departure(self.token);
        }
        let rails = self.qp.process_events(state, clock::now());
        self.qp.schedule(guard, rails, TxHint::Deferred);
    }
}
