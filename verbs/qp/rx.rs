// SPDX-License-Identifier: GPL-2.0

//! Frames that arrive for a QP.

use kernel::sync::Arc;

use super::datagrams::count_dropped;
use super::on_demand_placement::OnDemandPlacement;
use super::payload::Destination;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::service::PlacementToken;
use crate::base::clock;
use crate::base::page_vec::PageVec;
use crate::transport::connection::PayloadToken;
use crate::transport::frame::AckHeader;
use crate::transport::frame::DatagramHeader;
use crate::transport::frame::Operands;
use crate::transport::frame::RequestHeader;
use crate::transport::frame::ResponseHeader;
use crate::transport::frame::UnreliableHeader;
use crate::transport::ids::Instant;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::Rkey;
use crate::transport::outcome::Outcome;
use crate::transport::requester::ResponseDisposition;
use crate::transport::responder::Disposition;
use crate::transport::responder::RemoteRange;
use crate::transport::responder::RequestToken;
use crate::transport::status::NakCode;
use crate::transport::unreliable::UnreliableDisposition;
use crate::verbs::access_error::Unresolved;
use crate::verbs::counters::Counter;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Regions;
use crate::verbs::netdev::MacAddress;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::QpState;
use crate::verbs::route::TxHint;
use crate::verbs::trace;

/// A payload on its way into the pages that were named for it.
///
/// The QP's destruction waits until it has been committed, and so does its reset. One that is dropped without counts as
/// aborted: the peer sends the payload again, unless the connection is unreliable.
#[must_use = "the peer sends a payload again that is not committed"]
pub(crate) struct PendingPlacement {
    qp: Arc<QueuePair>,
    token: PlacementToken,
    regions: Regions,
    outcome: Outcome,
    hint: TxHint,
}

impl PendingPlacement {
    /// To be called when the QP is connected and not destroyed.
    fn new(
        qp: &Arc<QueuePair>,
        state: &mut State,
        token: PlacementToken,
        regions: Regions,
    ) -> Self {
        state.placements += 1;
        Self {
            qp: qp.clone(),
            token,
            regions,
            outcome: Outcome::Aborted,
            hint: TxHint::Deferred,
        }
    }

    /// The payload has arrived, or not ([`Outcome::Aborted`]). Its pages may not be used any more.
    pub(crate) fn commit(mut self, outcome: Outcome, hint: TxHint) {
        self.outcome = outcome;
        self.hint = hint;
    }
}

impl Drop for PendingPlacement {
    fn drop(&mut self) {
        // Before anybody hears of the outcome: who deregisters the memory waits for it.
        self.regions.clear();
        let now = clock::now();
        let mut guard = self.qp.state.lock();
        let state = &mut *guard;
        let mut inbox = self.qp.inbox(&mut state.receive_queue);
        state
            .service
            .handle_payload(self.token, self.outcome, &mut inbox, now);
        state.end_placement(&self.qp.settled);
        let rails = self.qp.process_events(state, now);
        self.qp.schedule(guard, rails, self.hint);
    }
}

/// What a QP did with a frame.
#[must_use = "a payload may have to be placed"]
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and a box would be an allocation for each frame"
)]
pub(crate) enum RxVerdict {
    /// Nothing with its payload: it came twice, was refused, was not from the other end of the connection, or the QP takes
    /// none.
    Discarded,
    /// The frame is dealt with.
    Taken,
    /// Its payload belongs into the pages that were given.
    Place(PendingPlacement),
    /// Its payload belongs into memory whose pages may not be present.
    PlaceOnDemand(OnDemandPlacement),
}

/// A frame for a QP.
#[derive(Clone, Copy)]
pub(crate) enum RxFrame<'a> {
    /// Segment of a request, and its payload if that is operands.
    Request(&'a RequestHeader, Option<Operands>),
    /// Segment of an answer.
    Response(&'a ResponseHeader),
    /// Acknowledgement.
    Ack(&'a AckHeader),
    /// Segment of an unreliable connection, which has come over this rail.
    Unreliable(&'a UnreliableHeader, RailId),
    /// Unreliable datagram.
    Datagram(&'a DatagramHeader),
}

impl RxFrame<'_> {
    /// The QP the frame says it is from.
    fn source(&self) -> Qpn {
        match self {
            Self::Request(header, _) => header.src_qpn,
            Self::Response(header) => header.src_qpn,
            Self::Ack(header) => header.src_qpn,
            Self::Unreliable(header, _) => header.src_qpn,
            Self::Datagram(header) => header.src_qpn,
        }
    }

    fn payload_len(&self) -> u32 {
        match self {
            Self::Request(header, _) => header.payload_len(),
            Self::Response(header) => header.extent.len(),
            Self::Ack(_) => 0,
            Self::Unreliable(header, _) => header.extent.len(),
            Self::Datagram(header) => header.payload_len,
        }
    }

    /// What it is, for tracing.
    fn kind(&self) -> trace::Kind {
        match self {
            Self::Request(..) => trace::Kind::Request,
            Self::Response(_) => trace::Kind::Response,
            Self::Ack(_) => trace::Kind::Ack,
            Self::Unreliable(..) => trace::Kind::Unreliable,
            Self::Datagram(_) => trace::Kind::Datagram,
        }
    }

    /// The number it goes by; zero for datagrams, which have none.
    fn psn(&self) -> Psn {
        match self {
            Self::Request(header, _) => header.psn,
            Self::Response(header) => header.response_psn,
            Self::Ack(header) => header.psn,
            Self::Unreliable(header, _) => header.psn,
            Self::Datagram(_) => Psn::default(),
        }
    }

    /// The QP the frame is for.
    pub(crate) fn destination(&self) -> Qpn {
        match self {
            Self::Request(header, _) => header.dest_qpn,
            Self::Response(header) => header.dest_qpn,
            Self::Ack(header) => header.dest_qpn,
            Self::Unreliable(header, _) => header.dest_qpn,
            Self::Datagram(header) => header.dest_qpn,
        }
    }
}

impl QueuePair {
    /// Waits until no payload is on its way into memory, nor out of memory of the kernel. To be called when the QP neither
    /// accepts nor sends any more. Sleeps.
    pub(super) fn await_payloads(&self) {
        let mut state = self.state.lock();
        while !state.is_settled() {
            self.settled.wait(&mut state);
        }
    }

    /// A frame from `host` has arrived. If it has a payload that is wanted, its place is put into the
    /// empty list `pages`.
    pub(crate) fn on_frame(
        self: &Arc<Self>,
        host: MacAddress,
        frame: RxFrame<'_>,
        now: Instant,
        pages: &mut PageVec,
        hint: TxHint,
    ) -> RxVerdict {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if matches!(state.state, QpState::Reset | QpState::Init) {
            state.service.note_early_frame();
            return RxVerdict::Discarded;
        }
        // Only the QP at the other end of a connection may speak to this one. Datagrams come from anywhere.
        let may_speak = match frame {
            RxFrame::Request(..)
            | RxFrame::Response(_)
            | RxFrame::Ack(_)
            | RxFrame::Unreliable(..) => {
                state.attributes.host() == Some(host)
                    && state.attributes.destination_qpn == frame.source()
            }
            RxFrame::Datagram(_) => true,
        };
        if state.is_destroyed || !may_speak {
            return RxVerdict::Discarded;
        }
        let len = frame.payload_len();
        trace::segment_received(self.qpn, frame.kind(), frame.psn(), len);
        let counters = &self.counters;
        counters.add(Counter::ReceivedFrames, 1);
        counters.add(Counter::ReceivedBytes, len.into());
        let verdict = match frame {
            RxFrame::Request(header, operands) => {
                self.on_request(state, header, operands, now, pages)
            }
            RxFrame::Response(header) => self.on_response(state, header, now, pages),
            RxFrame::Datagram(header) => self.on_datagram(state, header, now, pages),
            RxFrame::Ack(header) => match state.service.reliable() {
                Some(reliable) => {
                    reliable.connection.handle_ack(header, now);
                    RxVerdict::Taken
                }
                None => RxVerdict::Discarded,
            },
            RxFrame::Unreliable(header, rail) => {
                self.on_unreliable(state, header, rail, now, pages)
            }
        };
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, hint);
        verdict
    }

    fn on_request(
        self: &Arc<Self>,
        state: &mut State,
        header: &RequestHeader,
        operands: Option<Operands>,
        now: Instant,
        pages: &mut PageVec,
    ) -> RxVerdict {
        let Some(reliable) = state.service.reliable() else {
            return RxVerdict::Discarded;
        };
        let mut inbox = self.inbox(&mut state.receive_queue);
        let disposition = reliable.connection.handle_request(header, &mut inbox);
        let (token, destination) = match disposition {
            Disposition::Write {
                va,
                rkey,
                len,
                token,
            } => (token, Destination::Remote(RemoteRange { va, rkey, len })),
            Disposition::Receive {
                slot,
                offset,
                len,
                token,
            } => (token, Destination::Receive { slot, offset, len }),
            Disposition::CheckRead {
                va,
                rkey,
                len,
                token,
            } => {
                let (outcome, verdict) = match self.check_read(state, va, rkey, len) {
                    Ok(()) => (Outcome::Placed, RxVerdict::Taken),
                    Err(AccessDenied) => {
                        (Outcome::Denied(NakCode::RemoteAccess), RxVerdict::Discarded)
                    }
                };
                let token = PlacementToken::ReliableConnection(PayloadToken::Request(token));
                let mut inbox = self.inbox(&mut state.receive_queue);
                state
                    .service
                    .handle_payload(token, outcome, &mut inbox, now);
                return verdict;
            }
            Disposition::CheckExecution {
                action,
                va,
                rkey,
                token,
            } => {
                let outcome = match self.check_execution(state, action, va, rkey) {
                    Ok(()) => Outcome::Placed,
                    Err(AccessDenied) => Outcome::Denied(NakCode::RemoteAccess),
                };
                return self.take_execution(state, token, outcome, operands, now);
            }
            Disposition::NoPayload => return RxVerdict::Taken,
            Disposition::Drop(_) => return RxVerdict::Discarded,
        };
        let token = PlacementToken::ReliableConnection(PayloadToken::Request(token));
        self.begin(state, token, destination, now, pages)
    }

    /// Takes on what is to be carried out in memory when its turn has come, if that is allowed.
    fn take_execution(
        &self,
        state: &mut State,
        token: RequestToken,
        outcome: Outcome,
        operands: Option<Operands>,
        now: Instant,
    ) -> RxVerdict {
        let Some(reliable) = state.service.reliable() else {
            return RxVerdict::Discarded;
        };
        let connection = &mut reliable.connection;
        let mut inbox = self.inbox(&mut state.receive_queue);
        match (outcome, operands) {
            (Outcome::Placed, Some(operands)) => {
                connection.handle_operands(token, operands, &mut inbox);
            }
            (outcome, _) => {
                let token = PayloadToken::Request(token);
                connection.handle_payload(token, outcome, &mut inbox, now);
            }
        }
        match outcome {
            Outcome::Placed => RxVerdict::Taken,
            Outcome::Aborted | Outcome::Postponed | Outcome::Denied(_) => RxVerdict::Discarded,
        }
    }

    fn on_unreliable(
        self: &Arc<Self>,
        state: &mut State,
        header: &UnreliableHeader,
        rail: RailId,
        now: Instant,
        pages: &mut PageVec,
    ) -> RxVerdict {
        let Some(unreliable) = state.service.unreliable() else {
            return RxVerdict::Discarded;
        };
        let mut inbox = self.inbox(&mut state.receive_queue);
        let disposition = unreliable
            .connection
            .handle_segment(header, rail, &mut inbox);
        let (token, destination) = match disposition {
            UnreliableDisposition::Write {
                va,
                rkey,
                len,
                token,
            } => (token, Destination::Remote(RemoteRange { va, rkey, len })),
            UnreliableDisposition::Receive {
                slot,
                offset,
                len,
                token,
            } => (token, Destination::Receive { slot, offset, len }),
            UnreliableDisposition::NoPayload => return RxVerdict::Taken,
            UnreliableDisposition::Drop(_) => return RxVerdict::Discarded,
        };
        let token = PlacementToken::UnreliableConnection(token);
        self.begin(state, token, destination, now, pages)
    }

    fn on_response(
        self: &Arc<Self>,
        state: &mut State,
        header: &ResponseHeader,
        now: Instant,
        pages: &mut PageVec,
    ) -> RxVerdict {
        let Some(reliable) = state.service.reliable() else {
            return RxVerdict::Discarded;
        };
        let placement = match reliable.connection.handle_response(header, now) {
            ResponseDisposition::Place(placement) => placement,
            ResponseDisposition::Empty => return RxVerdict::Taken,
            ResponseDisposition::Ignore(_) => return RxVerdict::Discarded,
        };
        let destination = Destination::Request(placement.target);
        let token = PlacementToken::ReliableConnection(PayloadToken::Response(placement.token));
        self.begin(state, token, destination, now, pages)
    }

    fn on_datagram(
        self: &Arc<Self>,
        state: &mut State,
        header: &DatagramHeader,
        now: Instant,
        pages: &mut PageVec,
    ) -> RxVerdict {
        let Some(datagrams) = state.service.datagrams() else {
            return RxVerdict::Discarded;
        };
        let mut inbox = self.inbox(&mut state.receive_queue);
        let placement = match datagrams.receiver.handle_datagram(header, &mut inbox) {
            Ok(placement) => placement,
            Err(dropped) => {
                count_dropped(&self.counters, dropped);
                return RxVerdict::Discarded;
            }
        };
        let destination = Destination::Receive {
            slot: placement.slot,
            offset: 0,
            len: header.payload_len,
        };
        let token = PlacementToken::UnreliableDatagram(placement.token);
        self.begin(state, token, destination, now, pages)
    }

    /// Begins to place a payload, if its place can be resolved.
    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        token: PlacementToken,
        destination: Destination,
        now: Instant,
        pages: &mut PageVec,
    ) -> RxVerdict {
        let resolved = self
            .memory_of(state, &destination)
            .map_err(Unresolved::from)
            .and_then(|memory| memory.resolve(&self.regions, pages));
        match (resolved, token) {
            (Ok(regions), _) => {
                RxVerdict::Place(PendingPlacement::new(self, state, token, regions))
            }
            (Err(Unresolved::OnDemand), PlacementToken::ReliableConnection(_)) => {
                pages.clear();
                RxVerdict::PlaceOnDemand(OnDemandPlacement::new(self, state, token, destination))
            }
            // Nobody would send again what cannot be kept until the pages are present.
            (
                Err(Unresolved::OnDemand),
                PlacementToken::UnreliableConnection(_) | PlacementToken::UnreliableDatagram(_),
            )
            | (Err(Unresolved::Denied), _) => {
                pages.clear();
                let outcome = Outcome::Denied(destination.denial());
                let mut inbox = self.inbox(&mut state.receive_queue);
                state
                    .service
                    .handle_payload(token, outcome, &mut inbox, now);
                RxVerdict::Discarded
            }
        }
    }

    fn check_read(&self, state: &State, va: u64, rkey: Rkey, len: u32) -> Result<(), AccessDenied> {
        let needs = self.remote_needs(state, Access::RemoteRead.into())?;
        self.regions.check(Key(rkey.0), va, len as usize, needs)
    }
}
