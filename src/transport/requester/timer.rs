// SPDX-License-Identifier: GPL-2.0

//! The requester's timers: local ACK timeout and RNR wait.

use super::super::ids::Duration;
use super::super::ids::Instant;
use super::super::ids::RailId;
use super::super::ids::RailSeq;
use super::super::rail::tx::Delivery;
use super::super::status::CompletionStatus;
use super::super::storage::Storage;
use super::Caution;
use super::Requester;
use super::SegmentState;
use super::State;

/// Without any rail, retries are at least so far apart: a cable that is plugged in again needs some
/// seconds, which common attributes (seven retries of 67 ms) would not bridge.
pub const OUTAGE_RETRY: Duration = Duration::from_millis(1_000);

/// Whether any rail leads to the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reachability {
    /// At least one is up.
    Reachable,
    /// None is.
    Unreachable,
}

/// What the requester must know about the rails to its peer.
pub trait Rails {
    /// How frame `seq` of `rail` fared. A rail that is down has nothing in flight.
    fn delivery(&self, rail: RailId, seq: RailSeq) -> Delivery;

    /// Whether this rail is up. What was sent over one that is not has arrived, or is handed back as lost: it cannot
    /// arrive any more.
    fn is_up(&self, rail: RailId) -> bool;

    /// Whether any rail is up.
    fn reachability(&self) -> Reachability;
}

impl<S: Storage> Requester<S> {
    /// When to call [`Self::on_timer`] next; changes with every call of the other methods.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.rnr_until, self.deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Checks the clock. Afterwards ask [`Self::has_work`], [`Self::poll_completion`] and
    /// [`Self::deadline`].
    pub fn on_timer(&mut self, now: Instant, rails: &impl Rails) {
        match self.state {
            State::Running | State::Failing(_) => {}
            State::Idle | State::Flushing => return,
        }
        if self.rnr_until.is_some_and(|until| now >= until) {
            self.rnr_until = None;
            self.arm(now);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if !self.is_waiting() {
            self.deadline = None;
            return;
        }
        // What is still on a rail will either arrive or come back as lost: the peer cannot be blamed
        // yet.
        if self.is_on_a_rail(rails) {
            self.arm(now);
            return;
        }
        // Nor can it for a rail that has no room. With what was sent acknowledged, another one may do.
        if self.is_only_queued(rails) {
            self.ask();
            self.arm(now);
            return;
        }
        match self.retry_left.spend() {
            Some(left) => {
                self.retry_left = left;
                self.counters.timeouts += 1;
                self.caution = Caution::None;
                self.rewind();
                self.demand_responses();
                self.arm(now);
                if rails.reachability() == Reachability::Unreachable {
                    let earliest = now.after(OUTAGE_RETRY);
                    self.deadline = self.deadline.map(|deadline| deadline.max(earliest));
                }
            }
            None => {
                let message = self.first_incomplete();
                self.fail(message, CompletionStatus::RetryExceeded);
                self.deadline = None;
            }
        }
    }

    fn is_on_a_rail(&self, rails: &impl Rails) -> bool {
        let mut psn = self.una;
        while psn != self.next {
            let slot = self.segments.at(psn.get());
            if slot.state == SegmentState::Sent
                && rails.delivery(slot.rail, slot.seq) == Delivery::InFlight
            {
                return true;
            }
            psn = psn.next();
        }
        false
    }

    /// Whether nothing but a free rail is waited for: rails are up, and nothing has been sent that is
    /// not answered, or that an answer was asked for.
    fn is_only_queued(&self, rails: &impl Rails) -> bool {
        let is_owed = self.sent > 0 && self.una.is_before(self.ack_requested);
        !is_owed && self.reads_outstanding() == 0 && rails.reachability() == Reachability::Reachable
    }
}
