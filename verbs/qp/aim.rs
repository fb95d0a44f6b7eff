// SPDX-License-Identifier: GPL-2.0

//! Having a QP's route be that of its next datagram.

use kernel::sync::Arc;

use super::datagrams::Next;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use crate::transport::ids::Instant;
use crate::verbs::counters::Counter;
use crate::verbs::route::Reach;

/// Datagrams that are dropped in one round.
const DROP_STEP: u32 = 64;

/// Whether something has been changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aimed {
    /// The route is that of the next datagram, if there is any.
    Done,
    /// Datagrams were dropped: there are completions.
    Dropped,
}

impl QueuePair {
    /// Has the QP's route be that of the next datagram, if its service has such. What cannot be sent to where it should go is
    /// dropped.
    pub(super) fn aim(self: &Arc<Self>, state: &mut State, now: Instant) -> Aimed {
        let mut result = Aimed::Done;
        for _ in 0..DROP_STEP {
            let Some(datagrams) = state.service.datagrams() else {
                return Aimed::Done;
            };
            let stop = match datagrams.next_stop(&*self.routes) {
                None => {
                    datagrams.wait_for_nothing();
                    return result;
                }
                // The last host has gone.
                Some(Next::RoundOver) => {
                    datagrams.end_round();
                    result = Aimed::Dropped;
                    continue;
                }
                Some(Next::Stop(stop)) => stop,
            };
            let reach = self.routes.reach(stop.host);
            if reach != Reach::Open || datagrams.wait_for(stop.host, now).is_err() {
                self.counters.add(Counter::UnsentDatagrams, 1);
                datagrams.leave(&stop, &*self.routes);
                result = Aimed::Dropped;
                continue;
            }
            let leads_there = state
                .route
                .get()
                .is_some_and(|route| !route.rails().up().is_empty());
            if datagrams.aimed == Some(stop.host) && leads_there {
                return result;
            }
            // One at a time is let go of; there is another round.
            if state.old_route.is_some() {
                return Aimed::Dropped;
            }
            datagrams.aimed = Some(stop.host);
            let route = self.routes.reachable(stop.host);
            if route.is_none() {
                datagrams.aimed = None;
            }
            state.old_route = state.route.replace(self, route);
            return result;
        }
        Aimed::Dropped
    }
}
