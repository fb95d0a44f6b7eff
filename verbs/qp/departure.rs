// SPDX-License-Identifier: GPL-2.0

//! Segments on their way out, for queue pairs that must know when their payload has left.

use kernel::sync::Arc;

use super::departures::Departures;
use super::departures::Reader;
use super::queue_pair::QueuePair;
use crate::base::clock;
use crate::transport::unreliable::DepartureToken;
use crate::verbs::route::TxHint;

/// What leaves.
enum Cargo {
    /// A segment of an unreliable connection, which is complete with that.
    Unreliable(DepartureToken),
    /// A piece of the kernel's memory, which goes when what reads it is complete, or flushed. (Memory of a process is kept by
    /// the regions.)
    KernelMemory(Reader),
}

/// A segment on its way out. When it is dropped, its payload has left.
///
/// Who drops it holds no spinlock: the QP is locked, and may go.
pub(crate) struct Departure {
    qp: Arc<QueuePair>,
    cargo: Cargo,
}

impl Departure {
    /// That of a segment of an unreliable connection.
    pub(super) fn of_unreliable(qp: &Arc<QueuePair>, token: DepartureToken) -> Self {
        Self {
            qp: qp.clone(),
            cargo: Cargo::Unreliable(token),
        }
    }

    /// That of a piece of the kernel's memory.
    pub(super) fn of_kernel_memory(
        qp: &Arc<QueuePair>,
        departures: &mut Departures,
        reader: Reader,
    ) -> Self {
        departures.begin(reader);
        Self {
            qp: qp.clone(),
            cargo: Cargo::KernelMemory(reader),
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut guard = self.qp.state.lock();
        let state = &mut *guard;
        match self.cargo {
            Cargo::Unreliable(token) => {
                if let Some(unreliable) = state.service.unreliable() {
                    unreliable.connection.handle_departure(token);
                }
            }
            Cargo::KernelMemory(reader) => {
                state.departures.end(reader);
                state.tell_if_settled(&self.qp.settled);
            }
        }
        let rails = self.qp.process_events(state, clock::now());
        self.qp.schedule(guard, rails, TxHint::Deferred);
    }
}
