// SPDX-License-Identifier: GPL-2.0

//! Reliable connections: the protocol's, by a QP's attributes.

use kernel::prelude::*;

use super::attributes::Attributes;
use super::limits::LIMITS;
use super::limits::MAX_RD_ATOMIC;
use super::limits::SEGMENT;
use super::limits::WINDOW;
use crate::base::kernel_tables::KernelTables;
use crate::transport::connection::Connection;
use crate::transport::connection::ConnectionCounters;
use crate::transport::connection::Tuning;
use crate::transport::final_acks::FinalAck;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::requester::RequesterConfig;
use crate::transport::requester::RequesterTables;
use crate::transport::responder::ResponderConfig;
use crate::transport::responder::ResponderTables;
use crate::transport::timing::AckTimeout;
use crate::transport::timing::RetryLimit;
use crate::transport::timing::RnrTimer;
use crate::verbs::counters::Counters;

/// Whether a request came before the QP was ready for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EarlyRequest {
    /// None that is known.
    NotSeen,
    /// One was dropped.
    Dropped,
}

/// The service of a reliable connection.
pub(super) struct ReliableConnection {
    pub(super) connection: Connection<KernelTables>,
    early_request: EarlyRequest,
    /// What of the protocol's counters has been added to the port's.
    counted: ConnectionCounters,
}

fn table<T: Default + Clone>(len: usize) -> Result<KVVec<T>> {
    Ok(KVVec::from_elem(T::default(), len, GFP_KERNEL_ACCOUNT)?)
}

impl ReliableConnection {
    /// One that is not connected, with room for `max_active` requests: a power of two.
    pub(super) fn new(max_active: usize) -> Result<Self> {
        let window = usize::from(WINDOW);
        let reads = usize::from(MAX_RD_ATOMIC);
        let requester = RequesterTables::<KernelTables> {
            messages: table(max_active)?,
            segments: table(window)?,
            reads: table(reads)?,
        };
        let responder = ResponderTables::<KernelTables> {
            requests: table(window)?,
            receives: table(window)?,
            reads: table(reads)?,
            responses: table(window)?,
        };
        Ok(Self {
            connection: Connection::new(requester, responder).map_err(|_| EINVAL)?,
            early_request: EarlyRequest::NotSeen,
            counted: ConnectionCounters::default(),
        })
    }

    /// A frame was dropped, as the QP is not ready for any.
    pub(super) fn note_early_request(&mut self) {
        self.early_request = EarlyRequest::Dropped;
    }

    /// Connects the responder.
    pub(super) fn start_receiving(&mut self, qpn: Qpn, attributes: &Attributes) {
        self.connection.start_responder(ResponderConfig {
            local_qpn: qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.rq_psn,
            window: LIMITS.window,
            max_dest_rd_atomic: attributes.max_dest_rd_atomic,
            rnr_timer: RnrTimer::new(attributes.min_rnr_timer),
        });
        if self.early_request == EarlyRequest::Dropped {
            self.early_request = EarlyRequest::NotSeen;
            self.connection.announce_ready();
        }
    }

    /// Connects the requester.
    pub(super) fn start_sending(&mut self, qpn: Qpn, attributes: &Attributes) {
        self.connection.start_requester(RequesterConfig {
            local_qpn: qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.sq_psn,
            segment: SEGMENT,
            window: LIMITS.window,
            max_rd_atomic: attributes.max_rd_atomic,
            timeout: AckTimeout::new(attributes.timeout),
            retry: RetryLimit::from_retry_count(attributes.retry_count),
            rnr_retry: RetryLimit::from_rnr_retry(attributes.rnr_retry),
        });
    }

    /// Has the attributes that a connected QP may change take effect.
    pub(super) fn tune(&mut self, attributes: &Attributes, now: Instant) {
        let tuning = Tuning {
            timeout: AckTimeout::new(attributes.timeout),
            retry: RetryLimit::from_retry_count(attributes.retry_count),
            rnr_retry: RetryLimit::from_rnr_retry(attributes.rnr_retry),
            max_rd_atomic: attributes.max_rd_atomic,
            rnr_timer: RnrTimer::new(attributes.min_rnr_timer),
            max_dest_rd_atomic: attributes.max_dest_rd_atomic,
        };
        self.connection.tune(&tuning, now);
    }

    /// Forgets everything. Returns the final ACK, if any.
    pub(super) fn reset(&mut self) -> Option<FinalAck> {
        self.early_request = EarlyRequest::NotSeen;
        self.connection.reset()
    }

    /// Adds what the protocol has counted to the port's counters.
    pub(super) fn count(&mut self, counters: &Counters) {
        let now = self.connection.counters();
        if now != self.counted {
            counters.add_difference(&self.counted, &now);
            self.counted = now;
        }
    }
}
