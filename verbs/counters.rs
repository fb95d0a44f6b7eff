// SPDX-License-Identifier: GPL-2.0

//! Counters of the port, as `rdma statistic` and sysfs show them.

use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;

use crate::transport::connection::ConnectionCounters;
use crate::transport::status::CompletionStatus;
use crate::verbs::rdma::CounterName;

/// The counters' names, in the order of [`Counter`].
pub(crate) const NAMES: &[CounterName] = &[
    CounterName::new(c"sent_frames"),
    CounterName::new(c"sent_bytes"),
    CounterName::new(c"received_frames"),
    CounterName::new(c"received_bytes"),
    CounterName::new(c"completed_sends"),
    CounterName::new(c"completed_receives"),
    CounterName::new(c"repeated_requests"),
    CounterName::new(c"repeated_responses"),
    CounterName::new(c"duplicate_requests"),
    CounterName::new(c"ack_timeouts"),
    CounterName::new(c"received_rnr_naks"),
    CounterName::new(c"sent_rnr_naks"),
    CounterName::new(c"received_sequence_naks"),
    CounterName::new(c"sent_sequence_naks"),
    CounterName::new(c"bogus_frames"),
    CounterName::new(c"retry_exceeded"),
    CounterName::new(c"rnr_retry_exceeded"),
    CounterName::new(c"failed_sends"),
    CounterName::new(c"uc_lost_segments"),
    CounterName::new(c"uc_broken_messages"),
    CounterName::new(c"uc_orphan_segments"),
    CounterName::new(c"uc_overtaken_segments"),
    CounterName::new(c"uc_no_receive"),
    CounterName::new(c"uc_refused_messages"),
    CounterName::new(c"unsent_datagrams"),
    CounterName::new(c"lost_datagrams"),
    CounterName::new(c"refused_datagrams"),
    CounterName::new(c"qkey_violations"),
];

/// A counter.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Frames of QPs that were given to a rail.
    SentFrames,
    /// Bytes of their payloads.
    SentBytes,
    /// Frames that arrived for a QP.
    ReceivedFrames,
    /// Bytes of their payloads.
    ReceivedBytes,
    /// Send requests that succeeded.
    CompletedSends,
    /// Receives that succeeded.
    CompletedReceives,
    /// Segments of requests sent again.
    RepeatedRequests,
    /// Segments of answers sent again.
    RepeatedResponses,
    /// Requests that had been processed before.
    DuplicateRequests,
    /// Local ACK timeouts.
    AckTimeouts,
    /// RNR NAKs received.
    ReceivedRnrNaks,
    /// RNR NAKs sent.
    SentRnrNaks,
    /// Sequence NAKs received.
    ReceivedSequenceNaks,
    /// Sequence NAKs sent.
    SentSequenceNaks,
    /// Frames that make no sense for the connection.
    BogusFrames,
    /// Requests that failed because no answer came.
    RetryExceeded,
    /// Requests that failed because the receiver was never ready.
    RnrRetryExceeded,
    /// Requests that failed for whatever reason, and were not just flushed.
    FailedSends,
    /// Unreliable connections: segments that rails have lost.
    UcLostSegments,
    /// Messages that had begun to arrive and were dropped, since a segment of them was lost.
    UcBrokenMessages,
    /// Segments that were dropped since the message they are of was, or since its beginning was lost.
    UcOrphanSegments,
    /// Segments that were dropped since others have overtaken them over another rail.
    UcOvertakenSegments,
    /// Messages that were dropped for want of a receive.
    UcNoReceive,
    /// Messages that were dropped since they were too long, or not allowed.
    UcRefusedMessages,
    /// Datagrams that no rail took, or that the host they were for cannot receive.
    UnsentDatagrams,
    /// Datagrams that a rail lost.
    LostDatagrams,
    /// Datagrams that arrived and that there was no receive for, or one that was too short.
    RefusedDatagrams,
    /// Datagrams that arrived with the key of another QP.
    QkeyViolations,
}

const COUNT: usize = Counter::QkeyViolations as usize + 1;

const _: () = assert!(NAMES.len() == COUNT);

/// The port's counters; lost updates do not happen, but different counters may be a little apart.
pub(crate) struct Counters {
    values: [Atomic<u64>; COUNT],
}

impl Counters {
    /// Counters at zero.
    pub(crate) const fn new() -> Self {
        Self {
            values: [const { Atomic::new(0) }; COUNT],
        }
    }

    /// Adds to a counter.
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.values[counter as usize].fetch_add(amount, Relaxed);
    }

    /// The value of a counter.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Relaxed)
    }

    /// Copies the values, in the order of [`NAMES`].
    pub(crate) fn read(&self, into: &mut [u64]) {
        for (value, counter) in into.iter_mut().zip(&self.values) {
            *value = counter.load(Relaxed);
        }
    }

    /// Counts how a send request ended.
    pub(crate) fn count_send(&self, status: CompletionStatus) {
        match status {
            CompletionStatus::Success => self.add(Counter::CompletedSends, 1),
            CompletionStatus::FlushError => {}
            CompletionStatus::RetryExceeded => {
                self.add(Counter::RetryExceeded, 1);
                self.add(Counter::FailedSends, 1);
            }
            CompletionStatus::RnrRetryExceeded => {
                self.add(Counter::RnrRetryExceeded, 1);
                self.add(Counter::FailedSends, 1);
            }
            CompletionStatus::LocalLengthError
            | CompletionStatus::LocalQpOperationError
            | CompletionStatus::LocalProtectionError
            | CompletionStatus::MemoryManagementError
            | CompletionStatus::RemoteInvalidRequestError
            | CompletionStatus::RemoteAccessError
            | CompletionStatus::RemoteOperationError => self.add(Counter::FailedSends, 1),
        }
    }

    /// Adds what the protocol of a QP has counted since `before`.
    pub(crate) fn add_difference(&self, before: &ConnectionCounters, now: &ConnectionCounters) {
        let (old, new) = (&before.requester, &now.requester);
        let requester = [
            (
                Counter::RepeatedRequests,
                old.repeated_segments,
                new.repeated_segments,
            ),
            (Counter::AckTimeouts, old.timeouts, new.timeouts),
            (Counter::ReceivedRnrNaks, old.rnr_naks, new.rnr_naks),
            (
                Counter::ReceivedSequenceNaks,
                old.sequence_naks,
                new.sequence_naks,
            ),
            (Counter::BogusFrames, old.bogus, new.bogus),
        ];
        let (old, new) = (&before.responder, &now.responder);
        let responder = [
            (
                Counter::RepeatedResponses,
                old.repeated_responses,
                new.repeated_responses,
            ),
            (Counter::DuplicateRequests, old.duplicates, new.duplicates),
            (Counter::SentRnrNaks, old.rnr_naks, new.rnr_naks),
            (
                Counter::SentSequenceNaks,
                old.sequence_naks,
                new.sequence_naks,
            ),
            (Counter::BogusFrames, old.bogus, new.bogus),
        ];
        for (counter, old, new) in Iterator::chain(requester.into_iter(), responder) {
            if new != old {
                self.add(counter, new.wrapping_sub(old));
            }
        }
    }
}
