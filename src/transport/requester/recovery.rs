// SPDX-License-Identifier: GPL-2.0

//! What is repeated how often, when, and over which rails.

use super::Rails;
use super::RequesterConfig;
use crate::transport::ids::Instant;
use crate::transport::ids::RailId;
use crate::transport::timing::AckTimeout;
use crate::transport::timing::RetryLimit;
use crate::transport::timing::RnrTimer;

/// How often the peer can have everything outstanding sent again without any progress. A correct peer rarely repeats a
/// sequence NAK without progress; the bound is against amplification, as 64 bytes are answered by a whole window. It has
/// nothing to do with `retry_cnt`, which counts silence: between rails, losses without silence are common.
const SEQUENCE_RETRY: RetryLimit = RetryLimit::Times(7);

/// Which rails may be used. After an RNR NAK the responder places nothing before the message it was
/// about: in order, over one rail, what follows that message is not dropped again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Striping {
    /// All rails may be used.
    All,
    /// Only the rail that asks first.
    One,
    /// Only this rail.
    Pinned(RailId),
}

/// Nothing is left of a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Exhausted;

/// Uses up one repetition.
fn spend(left: &mut RetryLimit) -> Result<(), Exhausted> {
    *left = left.spend().ok_or(Exhausted)?;
    Ok(())
}

/// Timers and retry counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    retry_left: RetryLimit,
    rnr_retry_left: RetryLimit,
    sequence_retry_left: RetryLimit,
    /// When the local ACK timer ends.
    ack_deadline: Option<Instant>,
    /// Nothing is sent before this time: the responder's wish.
    rnr_until: Option<Instant>,
    striping: Striping,
}

impl Recovery {
    pub(super) const fn new() -> Self {
        Self {
            retry_left: RetryLimit::Times(0),
            rnr_retry_left: RetryLimit::Times(0),
            sequence_retry_left: SEQUENCE_RETRY,
            ack_deadline: None,
            rnr_until: None,
            striping: Striping::All,
        }
    }

    /// Begins anew with the limits of `config`.
    pub(super) fn start(&mut self, config: &RequesterConfig) {
        *self = Self::new();
        self.replenish(config);
    }

    /// There is progress: all counts begin anew.
    pub(super) fn replenish(&mut self, config: &RequesterConfig) {
        self.replenish_timed(config);
        self.sequence_retry_left = SEQUENCE_RETRY;
    }

    /// The counts that the user sets begin anew.
    pub(super) fn replenish_timed(&mut self, config: &RequesterConfig) {
        self.retry_left = config.retry;
        self.rnr_retry_left = config.rnr_retry;
    }

    /// The ACK timer has ended, and nothing has been acknowledged.
    pub(super) fn spend_retry(&mut self) -> Result<(), Exhausted> {
        spend(&mut self.retry_left)
    }

    /// The responder has no receive request.
    pub(super) fn spend_rnr_retry(&mut self) -> Result<(), Exhausted> {
        spend(&mut self.rnr_retry_left)
    }

    /// The responder misses a segment.
    pub(super) fn spend_sequence_retry(&mut self) -> Result<(), Exhausted> {
        spend(&mut self.sequence_retry_left)
    }

    /// When one of the timers ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.rnr_until, self.ack_deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Starts the ACK timer anew.
    pub(super) fn arm(&mut self, timeout: AckTimeout, now: Instant) {
        self.ack_deadline = timeout.duration().map(|timeout| now.after(timeout));
    }

    /// Has the ACK timer, if it runs, end no earlier than this.
    pub(super) fn defer_to(&mut self, earliest: Instant) {
        self.ack_deadline = self.ack_deadline.map(|deadline| deadline.max(earliest));
    }

    /// Stops the ACK timer.
    pub(super) fn disarm(&mut self) {
        self.ack_deadline = None;
    }

    pub(super) const fn is_armed(&self) -> bool {
        self.ack_deadline.is_some()
    }

    /// Whether the ACK timer has ended.
    pub(super) fn is_timed_out(&self, now: Instant) -> bool {
        self.ack_deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Stops both timers.
    pub(super) fn stop(&mut self) {
        self.ack_deadline = None;
        self.rnr_until = None;
    }

    /// The responder wants nothing for this time; then all goes over one rail. The ACK timer stands still.
    pub(super) fn begin_rnr_wait(&mut self, timer: RnrTimer, now: Instant) {
        self.rnr_until = Some(now.after(timer.duration()));
        self.ack_deadline = None;
        self.striping = Striping::One;
    }

    pub(super) const fn is_rnr_waiting(&self) -> bool {
        self.rnr_until.is_some()
    }

    /// Whether the responder wants nothing yet.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.rnr_until.is_some_and(|until| now < until)
    }

    /// Whether the responder's wait has just ended.
    pub(super) fn is_rnr_wait_over(&self, now: Instant) -> bool {
        self.rnr_until.is_some_and(|until| now >= until)
    }

    /// The responder's wait is over, or without object.
    pub(super) fn end_rnr_wait(&mut self) {
        self.rnr_until = None;
    }

    /// Whether this rail may be used.
    pub(super) fn allows(&self, rail: RailId, rails: &impl Rails) -> bool {
        match self.striping {
            Striping::Pinned(pinned) => pinned == rail || !rails.is_up(pinned),
            Striping::All | Striping::One => true,
        }
    }

    /// This rail is used.
    pub(super) fn note_used(&mut self, rail: RailId) {
        match self.striping {
            Striping::All => {}
            Striping::One | Striping::Pinned(_) => self.striping = Striping::Pinned(rail),
        }
    }

    /// All goes again in order, so any rail will do; the one chosen before may be gone when it would be asked.
    pub(super) fn unpin(&mut self) {
        match self.striping {
            Striping::All | Striping::One => {}
            Striping::Pinned(_) => self.striping = Striping::One,
        }
    }

    /// All rails may be used again.
    pub(super) fn stripe(&mut self) {
        self.striping = Striping::All;
    }
}
