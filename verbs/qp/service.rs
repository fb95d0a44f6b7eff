// SPDX-License-Identifier: GPL-2.0

//! Transport services of QPs (IBTA 9.6): each is a machine of its own, and a QP has one for life.
//!
//! What all of them can be told and asked is here. What only some know (requests, answers, acknowledgements) is for whoever
//! knows which service it is: see [`Service::reliable`].

use kernel::prelude::*;
use kernel::sync::Arc;

use super::attributes::Attributes;
use super::datagrams::Datagrams;
use super::reliable::ReliableConnection;
use super::unreliable::UnreliableService;
use crate::transport::connection::PayloadToken;
use crate::transport::connection::Posted;
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
use crate::transport::share::Share;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::transport::unreliable::PlacementToken as SegmentToken;
use crate::transport::unreliable_datagram::DatagramCompletion;
use crate::transport::unreliable_datagram::DatagramToken;
use crate::verbs::abi::send_wqe;
use crate::verbs::address::PathTable;
use crate::verbs::counters::Counter;
use crate::verbs::counters::Counters;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::QpType;

/// The service of a QP, with all that it keeps.
#[expect(
    clippy::large_enum_variant,
    reason = "reliable connections are what most QPs have: in memory of their own, each frame would have one more pointer to follow"
)]
pub(super) enum Service {
    /// Reliable connection.
    ReliableConnection(ReliableConnection),
    /// Unreliable connection.
    UnreliableConnection(UnreliableService),
    /// Unreliable datagram.
    UnreliableDatagram(Datagrams),
}

/// Identifies a payload that is being placed.
#[derive(Clone, Copy)]
pub(super) enum PlacementToken {
    /// Of a reliable connection.
    ReliableConnection(PayloadToken),
    /// Of an unreliable connection.
    UnreliableConnection(SegmentToken),
    /// Of an unreliable datagram.
    UnreliableDatagram(DatagramToken),
}

/// A receive that has completed.
pub(super) enum Received {
    /// With a message of the connection.
    Message(ReceiveCompletion),
    /// With a datagram.
    Datagram(DatagramCompletion),
}

impl Service {
    /// The service of a new QP of `pd` and of that type, with room for `max_active` requests at a time: a power of two.
    pub(super) fn new(
        qp_type: QpType,
        max_active: usize,
        paths: &Arc<PathTable>,
        pd: PdId,
    ) -> Result<Self> {
        match qp_type {
            QpType::Rc => Ok(Self::ReliableConnection(ReliableConnection::new(
                max_active,
            )?)),
            QpType::Uc => Ok(Self::UnreliableConnection(UnreliableService::new(
                max_active,
            )?)),
            QpType::Ud | QpType::Gsi => Ok(Self::UnreliableDatagram(Datagrams::new(
                max_active,
                paths.clone(),
                pd,
            )?)),
        }
    }

    /// What the peer has to know of for this service.
    pub(super) fn needs(&self) -> Features {
        match self {
            Self::ReliableConnection(_) => Features::NONE,
            Self::UnreliableConnection(_) => Features::UNRELIABLE_CONNECTIONS,
            Self::UnreliableDatagram(_) => Features::UNRELIABLE_DATAGRAMS,
        }
    }

    /// What the service is called in log lines.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ReliableConnection(_) => "reliable connections",
            Self::UnreliableConnection(_) => "unreliable connections",
            Self::UnreliableDatagram(_) => "unreliable datagrams",
        }
    }

    /// The reliable connection, if the QP has that service.
    pub(super) fn reliable(&mut self) -> Option<&mut ReliableConnection> {
        match self {
            Self::ReliableConnection(reliable) => Some(reliable),
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => None,
        }
    }

    /// The unreliable connection, if the QP has that service.
    pub(super) fn unreliable(&mut self) -> Option<&mut UnreliableService> {
        match self {
            Self::UnreliableConnection(unreliable) => Some(unreliable),
            Self::ReliableConnection(_) | Self::UnreliableDatagram(_) => None,
        }
    }

    /// The datagrams, if the QP has that service.
    pub(super) fn datagrams(&mut self) -> Option<&mut Datagrams> {
        match self {
            Self::UnreliableDatagram(datagrams) => Some(datagrams),
            Self::ReliableConnection(_) | Self::UnreliableConnection(_) => None,
        }
    }

    /// What becomes of the QP when a request fails (IBTA 10.3.1).
    pub(super) fn state_after_send_failure(&self) -> QpState {
        match self {
            Self::ReliableConnection(_) => QpState::Err,
            // It goes on receiving.
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => QpState::Sqe,
        }
    }

    /// A frame was dropped, as the QP is not ready for any.
    pub(super) fn note_early_frame(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.note_early_request(),
            // Nobody sends it again.
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => {}
        }
    }

    /// The QP begins to receive (transition to RTR).
    pub(super) fn start_receiving(&mut self, qpn: Qpn, attributes: &Attributes) {
        match self {
            Self::ReliableConnection(reliable) => reliable.start_receiving(qpn, attributes),
            Self::UnreliableConnection(unreliable) => unreliable.start_receiving(qpn, attributes),
            Self::UnreliableDatagram(datagrams) => datagrams.start_receiving(attributes),
        }
    }

    /// The QP begins to send (transition from RTR to RTS).
    pub(super) fn start_sending(&mut self, qpn: Qpn, attributes: &Attributes) {
        match self {
            Self::ReliableConnection(reliable) => reliable.start_sending(qpn, attributes),
            Self::UnreliableConnection(unreliable) => unreliable.start_sending(qpn, attributes),
            Self::UnreliableDatagram(datagrams) => datagrams.sender.start(),
        }
    }

    /// Has the attributes that may change in RTS and SQD take effect.
    pub(super) fn tune(&mut self, attributes: &Attributes, now: Instant) {
        match self {
            Self::ReliableConnection(reliable) => reliable.tune(attributes, now),
            Self::UnreliableConnection(_) => {}
            Self::UnreliableDatagram(datagrams) => datagrams.tune(attributes),
        }
    }

    /// Begins no more messages (transition to SQD). Once all that were begun are complete, there is a
    /// [`QpEvent::SendQueueDrained`].
    pub(super) fn drain(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.drain(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.drain(),
            Self::UnreliableDatagram(datagrams) => datagrams.sender.drain(),
        }
    }

    /// Begins messages again (transition from SQD or SQE to RTS).
    pub(super) fn resume(&mut self, now: Instant) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.resume(now),
            Self::UnreliableConnection(unreliable) => unreliable.connection.resume(),
            Self::UnreliableDatagram(datagrams) => datagrams.sender.start(),
        }
    }

    /// Flushes all that is not complete, and whatever is posted from now on (transition to ERR).
    pub(super) fn flush(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.flush(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.flush(),
            Self::UnreliableDatagram(datagrams) => datagrams.flush(),
        }
    }

    /// Forgets everything (transition to RESET). What is left to be said to the peer is given.
    pub(super) fn reset(&mut self) -> Option<FinalAck> {
        match self {
            Self::ReliableConnection(reliable) => reliable.reset(),
            Self::UnreliableConnection(unreliable) => {
                unreliable.connection.reset();
                None
            }
            Self::UnreliableDatagram(datagrams) => {
                datagrams.reset();
                None
            }
        }
    }

    /// Whether [`Self::handle_limits`] must be called before there are segments to send.
    pub(super) fn awaits_limits(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.awaits_limits(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.awaits_limits(),
            Self::UnreliableDatagram(_) => false,
        }
    }

    /// The way to the peer is another one, and its limits may be.
    pub(super) fn handle_new_path(&mut self) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_new_path(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.handle_new_path(),
            Self::UnreliableDatagram(_) => {}
        }
    }

    /// The peer's limits are known, and what it knows of: from now on neither are exceeded, nor our own.
    pub(super) fn handle_limits(&mut self, peer: &Limits, features: Features) {
        match self {
            Self::ReliableConnection(reliable) => {
                reliable.connection.handle_limits(peer);
                reliable.connection.handle_features(features);
            }
            Self::UnreliableConnection(unreliable) => {
                unreliable.connection.handle_peer(peer, features);
            }
            Self::UnreliableDatagram(_) => {}
        }
    }

    /// How many more requests can be posted.
    pub(super) fn room(&self) -> u32 {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.room(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.room(),
            Self::UnreliableDatagram(datagrams) => datagrams.sender.room(),
        }
    }

    /// Posts a request whose WQE has that header. After a failure it will be flushed.
    pub(super) fn post(
        &mut self,
        request: SendRequest,
        header: &[u8; send_wqe::HEADER_SIZE],
        now: Instant,
    ) -> Result<MessageSlot, PostError> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.post(request, now),
            Self::UnreliableConnection(unreliable) => unreliable.connection.post(request),
            Self::UnreliableDatagram(datagrams) => datagrams.post(&request, header),
        }
    }

    /// Posts a local operation whose WQE has that header. After a failure it will be flushed.
    pub(super) fn post_local(
        &mut self,
        request: LocalRequest,
        header: &[u8; send_wqe::HEADER_SIZE],
        now: Instant,
    ) -> Result<MessageSlot, PostError> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.post_local(request),
            Self::UnreliableConnection(unreliable) => unreliable.connection.post_local(request),
            // It is not among what such a QP does: all there is of it is its completion.
            Self::UnreliableDatagram(_) => {
                let nothing = SendRequest {
                    wr_id: request.wr_id,
                    signalling: request.signalling,
                    ..SendRequest::default()
                };
                let slot = self.post(nothing, header, now)?;
                self.handle_send_failure(slot, CompletionStatus::LocalQpOperationError);
                Ok(slot)
            }
        }
    }

    /// The local operation that is to be carried out now.
    pub(super) fn due_local(&self) -> Option<DueOperation> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.due_local(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.due_local(),
            Self::UnreliableDatagram(_) => None,
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
            Self::UnreliableConnection(unreliable) => {
                unreliable.connection.handle_local_end(slot, result);
            }
            Self::UnreliableDatagram(_) => {}
        }
    }

    /// A posted request cannot be carried out for a reason found on this side: it fails with `status` when those before
    /// it are complete.
    pub(super) fn handle_send_failure(&mut self, slot: MessageSlot, status: CompletionStatus) {
        match self {
            Self::ReliableConnection(reliable) => {
                reliable.connection.handle_send_failure(slot, status);
            }
            Self::UnreliableConnection(unreliable) => {
                unreliable.connection.handle_send_failure(slot, status);
            }
            Self::UnreliableDatagram(datagrams) => datagrams.sender.fail(slot, status),
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
            (
                Self::UnreliableConnection(unreliable),
                PlacementToken::UnreliableConnection(token),
            ) => unreliable.connection.handle_payload(token, outcome),
            (Self::UnreliableDatagram(datagrams), PlacementToken::UnreliableDatagram(token)) => {
                datagrams.receiver.handle_payload(token, outcome);
            }
            // A QP has one service for life, and its tokens are of that.
            (
                Self::ReliableConnection(_)
                | Self::UnreliableConnection(_)
                | Self::UnreliableDatagram(_),
                _,
            ) => {}
        }
    }

    /// What was to be sent could not be for a while, for want of its payload: that time is not the peer's.
    pub(super) fn restart_timer(&mut self, now: Instant) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.restart_timer(now),
            // They fetch nothing.
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => {}
        }
    }

    /// Whether an acknowledgement is due.
    pub(super) fn is_ack_due(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.is_ack_due(),
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => false,
        }
    }

    /// The frame `seq` of `rail`, which carried this, was lost.
    pub(super) fn handle_lost(
        &mut self,
        item: InFlight,
        rail: RailId,
        seq: RailSeq,
        counters: &Counters,
    ) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_lost(item, rail, seq),
            Self::UnreliableConnection(unreliable) => unreliable.connection.handle_lost(),
            Self::UnreliableDatagram(_) => counters.add(Counter::LostDatagrams, 1),
        }
    }

    /// The time that [`Self::poll_timeout`] named has come; harmless before.
    pub(super) fn handle_timeout(&mut self, now: Instant, rails: &impl Rails) {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.handle_timeout(now, rails),
            Self::UnreliableConnection(_) => {}
            Self::UnreliableDatagram(datagrams) => datagrams.handle_timeout(now),
        }
    }

    /// The rails over which there is something to send: all if any will do, also one that is not up yet.
    pub(super) fn rails_with_frames(&self, now: Instant, rails: &impl Rails) -> RailSet {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.rails_with_frames(now, rails),
            Self::UnreliableConnection(unreliable) => {
                unreliable.connection.rails_with_frames(rails)
            }
            Self::UnreliableDatagram(datagrams) if datagrams.has_frame() => RailSet::ALL,
            Self::UnreliableDatagram(_) => RailSet::NONE,
        }
    }

    /// The oldest request whose completion has not been polled, of a connection whose acknowledgements complete requests.
    pub(super) fn oldest_request(&self) -> Option<MessageSlot> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.oldest_request(),
            // These are complete when they have left.
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => None,
        }
    }

    /// The next completion of the send queue, in the order of posting.
    pub(super) fn poll_send_completion(&mut self) -> Option<SendCompletion> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_send_completion(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.poll_send_completion(),
            Self::UnreliableDatagram(datagrams) => datagrams.sender.poll_completion(),
        }
    }

    /// The next completion of a receive, in the order the receives were taken.
    pub(super) fn poll_receive_completion(&mut self) -> Option<Received> {
        match self {
            Self::ReliableConnection(reliable) => {
                let completion = reliable.connection.poll_receive_completion()?;
                Some(Received::Message(completion))
            }
            Self::UnreliableConnection(unreliable) => {
                let completion = unreliable.connection.poll_receive_completion()?;
                Some(Received::Message(completion))
            }
            Self::UnreliableDatagram(datagrams) => {
                let completion = datagrams.receiver.poll_completion()?;
                Some(Received::Datagram(completion))
            }
        }
    }

    /// Something the owner must act upon, if anything.
    pub(super) fn poll_event(&mut self) -> Option<QpEvent> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_event(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.poll_event(),
            Self::UnreliableDatagram(datagrams) => datagrams
                .sender
                .poll_event()
                .or_else(|| datagrams.receiver.poll_event()),
        }
    }

    /// When to call [`Self::handle_timeout`], if ever.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.poll_timeout(),
            Self::UnreliableConnection(_) => None,
            Self::UnreliableDatagram(datagrams) => datagrams.poll_timeout(),
        }
    }

    /// Who had better send what was posted and not sent yet, and when.
    pub(super) fn posted(&self) -> Posted {
        let is_urgent = match self {
            Self::ReliableConnection(reliable) => return reliable.connection.posted(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.is_urgent(),
            Self::UnreliableDatagram(datagrams) => datagrams.is_urgent(),
        };
        if is_urgent {
            Posted::Urgent
        } else {
            Posted::Much
        }
    }

    /// What is under way of a stream of short messages.
    pub(super) fn share(&self) -> Share {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.share(),
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => Share::NONE,
        }
    }

    /// Whether all there is to send is an acknowledgement that may wait a moment for something to ride on.
    pub(super) fn has_ack_that_may_wait(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.has_ack_that_may_wait(),
            Self::UnreliableConnection(_) | Self::UnreliableDatagram(_) => false,
        }
    }

    /// PSN of the next new request, if there is one yet.
    pub(super) fn next_psn(&self) -> Option<Psn> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.next_psn(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.next_psn(),
            Self::UnreliableDatagram(_) => None,
        }
    }

    /// PSN of the next request to be processed, if there is one yet.
    pub(super) fn expected_psn(&self) -> Option<Psn> {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.expected_psn(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.expected_psn(),
            Self::UnreliableDatagram(_) => None,
        }
    }

    /// Whether messages begun before [`Self::drain`] are being waited for.
    pub(super) fn is_draining(&self) -> bool {
        match self {
            Self::ReliableConnection(reliable) => reliable.connection.is_draining(),
            Self::UnreliableConnection(unreliable) => unreliable.connection.is_draining(),
            Self::UnreliableDatagram(_) => false,
        }
    }

    /// Adds what has been counted since the last time to the port's counters.
    pub(super) fn count(&mut self, counters: &Counters) {
        match self {
            Self::ReliableConnection(reliable) => reliable.count(counters),
            Self::UnreliableConnection(unreliable) => unreliable.count(counters),
            // They are counted as they come.
            Self::UnreliableDatagram(_) => {}
        }
    }
}
