// SPDX-License-Identifier: GPL-2.0

//! The requester's timers: local ACK timeout and RNR wait.

use super::recovery::Exhausted;
use super::Requester;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail_set::RailSet;
use crate::transport::send_state::SendState;
use crate::transport::status::CompletionStatus;
use crate::transport::storage::Storage;

/// Without any rail, retries are at least so far apart: a cable that is plugged in again needs some
/// seconds, which common attributes (seven retries of 67 ms) would not bridge.
pub const OUTAGE_RETRY: Duration = Duration::from_millis(1_000);

/// What the requester must know about the rails to its peer.
pub trait Rails {
    /// How frame `seq` of `rail` fared. A rail that is down has nothing in flight.
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus;

    /// The rails that are up. What was sent over one that is not has arrived, or is handed back as lost: it cannot
    /// arrive any more.
    fn up(&self) -> RailSet;

    /// Those of them over which the peer answers; all if there are none. Others may have stalled.
    fn answering(&self) -> RailSet {
        self.up()
    }

    /// Whether this rail is up.
    fn is_up(&self, rail: RailId) -> bool {
        self.up().contains(rail)
    }
}

impl<S: Storage> Requester<S> {
    /// When to call [`Self::on_timer`] next. Whatever changes the requester may change it.
    pub fn deadline(&self) -> Option<Instant> {
        self.recovery.deadline()
    }

    /// The clock shows `now`. Does nothing before [`Self::deadline`].
    pub fn on_timer(&mut self, now: Instant, rails: &impl Rails) {
        match self.state {
            SendState::Running | SendState::Failing(_) => {}
            SendState::Idle | SendState::Flushing => return,
        }
        if self.recovery.is_rnr_wait_over(now) {
            self.recovery.end_rnr_wait();
            self.arm(now);
        }
        if !self.recovery.is_timed_out(now) {
            return;
        }
        if !self.is_waiting() {
            self.recovery.disarm();
            return;
        }
        // What is still on a rail will either arrive or come back as lost: the peer cannot be blamed
        // yet.
        if self.window.is_in_flight(rails) {
            self.arm(now);
            return;
        }
        // Nor can it for a rail that has no room. With what was sent acknowledged, another one may do.
        if self.is_only_queued(rails) {
            self.window.unsend_last();
            self.arm(now);
            return;
        }
        self.on_ack_timeout(now, rails);
    }

    /// The peer has not answered what it should have.
    fn on_ack_timeout(&mut self, now: Instant, rails: &impl Rails) {
        match self.recovery.spend_retry() {
            Ok(()) => {
                self.counters.timeouts += 1;
                self.window.unsend_all();
                self.recovery.stripe();
                self.reads.request_again();
                self.arm(now);
                if rails.up().is_empty() {
                    self.recovery.defer_to(now.after(OUTAGE_RETRY));
                }
            }
            Err(Exhausted) => {
                let message = self.messages.first_incomplete();
                self.fail(message, CompletionStatus::RetryExceeded);
                self.recovery.disarm();
            }
        }
    }

    /// Whether nothing but a free rail is waited for: rails are up, and nothing has been sent that is
    /// not answered, or that an answer was asked for.
    fn is_only_queued(&self, rails: &impl Rails) -> bool {
        !self.window.is_ack_owed() && self.reads.outstanding() == 0 && !rails.up().is_empty()
    }
}
