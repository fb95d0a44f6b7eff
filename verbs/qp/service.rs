// SPDX-License-Identifier: GPL-2.0

//! Transport services of QPs (IBTA 9.6): each is a machine of its own, and a QP has one for life.
//!
//! What all of them can be told and asked is here. What only some know (requests, answers, acknowledgements) is for whoever
//! knows which service it is: see [`Service::reliable`].

use kernel::prelude::*;

use super::attributes::Attributes;
use super::reliable::ReliableConnection;
use crate::transport::connection::PayloadToken;
use crate::transport::final_acks::FinalAck;
use crate::transport::ids::Instant;
use crate::transport::ids::MessageSlot;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;
use crate::transport::outcome::Outcome;
use crate::transport::rail::hello::Features;
use crate::transport::rail::InFlight;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::DueOperation;
use crate::transport::requester::LocalRequest;
use crate::transport::requester::PostError;
use crate::transport::requester::Rails;
use crate::transport::requester::SendCompletion;
use crate::transport::requester::SendRequest;
use crate::transport::responder::ReceiveCompletion;
use crate::transport::responder::ReceiveQueue;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::verbs::counters::Counters;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::QpType;

/// The service of a QP, with all that it keeps.
pub(super) enum Service {
    /// Reliable connection.
    ReliableConnection(ReliableConnection),
}

/// Identifies a payload that is being placed.
#[derive(Clone, Copy)]
pub(super) enum PlacementToken {
    /// Of a reliable connection.
    ReliableConnection(PayloadToken),
}

impl Service {
    /// The service of a new QP of that type, with room for `max_active` requests at a time: a power of two.
    ///
    /// Fails with `EOPNOTSUPP` for services that this device does not have.
    pub(super) fn new(qp_type: QpType, max_active: usize) -> Result<Self> {
        match qp_type {
            QpType::Rc => Ok(Self::ReliableConnection(ReliableConnection::new(
                max_active,
            )?)),
            QpType::Uc | QpType::Ud | QpType::Gsi => Err(unsupported()),
        }
    }

    /// The type of QPs with this service.
    pub(super) fn qp_type(&self) -> QpType {
        match self {
            Self::ReliableConnection(_) => QpType::Rc,
        }
    }

    /// The reliable connection, if the QP has that service.
    pub(super) fn reliable(&mut self) -> Option<&mut ReliableConnection> {
        match self {
            Self::ReliableConnection(reliable) => Some(reliable),
        }
    }

    /// A frame was dropped, as the QP is not ready for any.
    pub(super) fn note_early_frame(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.note_early_request(),
        }
    }

    /// The QP begins to receive (transition to RTR).
    pub(super) fn start_receiving(&mut self, qpn: Qpn, attributes: &Attributes) {
        match self {
            Self::ReliableConnection(reliable) => reliable.start_receiving(qpn, attributes),
        }
    }

    /// The QP begins to send (transition from RTR to RTS).
    pub(super) fn start_sending(&mut self, qpn: Qpn, attributes: &Attributes) {
        match self {
            Self::ReliableConnection(reliable) => reliable.start_sending(qpn, attributes),
        }
    }

    /// Has the attributes that may change in RTS and SQD take effect.
    pub(super) fn tune(&mut self, attributes: &Attributes, now: Instant) {
        match self {
            Self::ReliableConnection(reliable) => reliable.tune(attributes, now),
        }
    }

    /// Begins no more messages (transition to SQD). Once all that were begun are complete, there is a
    /// [`QpEvent::SendQueueDrained`].
    pub(super) fn drain(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.drain(),
        }
    }

    /// Begins messages again (transition from SQD to RTS).
    pub(super) fn resume(&mut self, now: Instant) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.resume(now),
        }
    }

    /// Flushes all that is not complete, and whatever is posted from now on (transition to ERR).
    pub(super) fn flush(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.flush(),
        }
    }

    /// Forgets everything (transition to RESET). What is left to be said to the peer is given.
    pub(super) fn reset(&mut self) -> Option<FinalAck> {
        match self {
            Self::ReliableConnection(reliable) => reliable.reset(),
        }
    }

    /// Whether [`Self::handle_limits`] must be called before there are segments to send.
    pub(super) fn awaits_limits(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.awaits_limits(),
        }
    }

    /// The way to the peer is another one, and its limits may be.
    pub(super) fn handle_new_path(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_new_path(),
        }
    }

    /// The peer's limits are known: from now on neither they nor our own are exceeded.
    pub(super) fn handle_limits(&mut self, peer: &Limits) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_limits(peer),
        }
    }

    /// What the peer offers is known.
    pub(super) fn handle_features(&mut self, peer: Features) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_features(peer),
        }
    }

    /// How many more requests can be posted.
    pub(super) fn room(&self) -> u32 {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.room(),
        }
    }

    /// Posts a request. After a failure it will be flushed.
    pub(super) fn post(
        &mut self,
        request: SendRequest,
        now: Instant,
    ) -> Result<MessageSlot, PostError> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.post(request, now),
        }
    }

    /// Posts a local operation. After a failure it will be flushed.
    pub(super) fn post_local(&mut self, request: LocalRequest) -> Result<MessageSlot, PostError> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.post_local(request),
        }
    }

    /// The local operation that is to be carried out now.
    pub(super) fn due_local(&self) -> Option<DueOperation> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.due_local(),
        }
    }

    /// The local operation posted as `slot`, which was due, has been carried out, or has failed with this status.
    pub(super) fn handle_local_end(
        &mut self,
        slot: MessageSlot,
        result: Result<(), CompletionStatus>,
        now: Instant,
    ) {
        match self {
            Self::ReliableConnection(reliable) => {
                reliable.connection.handle_local_end(slot, result, now);
            }
        }
    }

    /// A posted request cannot be carried out for a reason found on this side: it fails with `status` when those before
    /// it are complete.
    pub(super) fn handle_send_failure(&mut self, slot: MessageSlot, status: CompletionStatus) {
        match self {
            Self::ReliableConnection(reliable) => {
                reliable.connection.handle_send_failure(slot, status);
            }
        }
    }

    /// What became of a payload that was to be placed. One of an earlier life is ignored.
    pub(super) fn handle_payload(
        &mut self,
        token: PlacementToken,
        outcome: Outcome,
        queue: &mut impl ReceiveQueue,
        now: Instant,
    ) {
        match (self, token) {
            (Self::ReliableConnection(reliable), PlacementToken::ReliableConnection(token)) => {
                reliable
                    .connection
                    .handle_payload(token, outcome, queue, now);
            }
        }
    }

    /// The frame `seq` of `rail`, which carried this, was lost.
    pub(super) fn handle_lost(&mut self, item: InFlight, rail: RailId, seq: RailSeq) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_lost(item, rail, seq),
        }
    }

    /// The time that [`Self::poll_timeout`] named has come; harmless before.
    pub(super) fn handle_timeout(&mut self, now: Instant, rails: &impl Rails) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_timeout(now, rails),
        }
    }

    /// The rails over which there is something to send: all if any will do, also one that is not up yet.
    pub(super) fn rails_with_frames(&self, now: Instant, rails: &impl Rails) -> RailSet {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.rails_with_frames(now, rails),
        }
    }

    /// The next completion of the send queue, in the order of posting.
    pub(super) fn poll_send_completion(&mut self) -> Option<SendCompletion> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_send_completion(),
        }
    }

    /// The next completion of a receive, in the order the receives were taken.
    pub(super) fn poll_receive_completion(&mut self) -> Option<ReceiveCompletion> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_receive_completion(),
        }
    }

    /// Something the owner must act upon, if anything.
    pub(super) fn poll_event(&mut self) -> Option<QpEvent> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_event(),
        }
    }

    /// When to call [`Self::handle_timeout`], if ever.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_timeout(),
        }
    }

    /// Whether what was posted last is so little that who posts it had better send it.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.is_urgent(),
        }
    }

    /// Whether what is to be sent is so little that it may wait, to go with what is posted until then.
    pub(super) fn may_gather(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.may_gather(),
        }
    }

    /// Whether all there is to send is an acknowledgement that may wait a moment for something to ride on.
    pub(super) fn has_ack_that_may_wait(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.has_ack_that_may_wait(),
        }
    }

    /// PSN of the next new request, if there is one yet.
    pub(super) fn next_psn(&self) -> Option<Psn> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.next_psn(),
        }
    }

    /// PSN of the next request to be processed, if there is one yet.
    pub(super) fn expected_psn(&self) -> Option<Psn> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.expected_psn(),
        }
    }

    /// Whether messages begun before [`Self::drain`] are being waited for.
    pub(super) fn is_draining(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.is_draining(),
        }
    }

    /// Adds what has been counted since the last time to the port's counters.
    pub(super) fn count(&mut self, counters: &Counters) {
        match self {
            Self::ReliableConnection(reliable) => reliable.count(counters),
        }
    }
}
