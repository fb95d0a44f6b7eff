// SPDX-License-Identifier: GPL-2.0

//! Frames a QP has to send.

use kernel::sync::Arc;

use super::datagrams::Next;
use super::datagrams::Stop;
use super::departure::Departure;
use super::departures::Departures;
use super::departures::Reader;
use super::paging::Paging;
use super::payload::Outgoing;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::service::Service;
use super::timer::RailsOf;
use super::whereabouts::Memory;
use super::whereabouts::Whereabouts;
use crate::transport::attempt::Attempt;
use crate::transport::connection::FrameSlot;
use crate::transport::connection::Segment;
use crate::transport::frame::AckHeader;
use crate::transport::frame::Body;
use crate::transport::frame::Operation;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::ids::Instant;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::InFlight;
use crate::transport::requester::LocalRange;
use crate::transport::requester::RequestSegment;
use crate::transport::responder::ResponseSegment;
use crate::transport::responder::ResponseSource;
use crate::transport::status::CompletionStatus;
use crate::transport::status::NakCode;
use crate::transport::unreliable_datagram::NETWORK_HEADER_LEN;
use crate::verbs::access_error::Stop as CopyStop;
use crate::verbs::access_error::Unresolved;
use crate::verbs::counters::Counter;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::Regions;
use crate::verbs::route::FrameSink;
use crate::verbs::route::TxHint;
use crate::verbs::route_slot::RosterId;
use crate::verbs::trace;

/// Where a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramePayload {
    /// There is no payload.
    Empty,
    /// That many bytes have been put into the sink's staging memory.
    Staged(usize),
    /// In the sink's pages, to be copied before it is sent: it is small, or has been sent before and
    /// may be changing all the time.
    PagesToStage,
    /// In the sink's pages.
    Pages,
}

/// A frame to send.
pub(crate) struct TxFrame {
    /// Kind and fields of the frame.
    pub(crate) body: Body,
    /// What to give back to [`QueuePair::on_lost`] if it is lost.
    pub(crate) item: InFlight,
    /// Where the payload is.
    pub(crate) payload: FramePayload,
    /// Keeps the sink's pages alive.
    pub(crate) regions: Regions,
    /// Tells the QP, if it wants to know, that the payload has left. Dropped after the regions.
    pub(crate) departure: Option<Departure>,
}

impl TxFrame {
    /// The last acknowledgement of a QP that is gone.
    pub(crate) fn final_ack(ack: AckHeader) -> Self {
        Self {
            item: InFlight::Ack { qpn: ack.src_qpn },
            body: Body::Ack(ack),
            payload: FramePayload::Empty,
            regions: Regions::new(),
            departure: None,
        }
    }

    fn payload_len(&self) -> u32 {
        match &self.body {
            Body::Request(header) => header.payload_len(),
            Body::Response(header) => header.extent.len(),
            Body::Unreliable(header) => header.extent.len(),
            Body::Ack(_)
            | Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_) => 0,
            Body::UnreliableDatagram(header) => header.payload_len,
        }
    }
}

impl QueuePair {
    /// The next frame to go as number `seq` over `rail` of the route with the list `from`, which the QP was taken
    /// off. If there are more, the QP is in that list again.
    ///
    /// The QP may have got another route meanwhile: it has no frames for the old one. Answers come before requests: the
    /// peer waits for them. Segments sent before come only if the sink has room for any.
    pub(crate) fn next_frame(
        self: &Arc<Self>,
        from: RosterId,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        sink: &mut impl FrameSink,
    ) -> Option<TxFrame> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.route.is(from) {
            return None;
        }
        state.agree();
        let frame = match state.service {
            Service::ReliableConnection(_) => self
                .next_ack(state)
                .or_else(|| self.next_segment(state, rail, seq, now, sink)),
            Service::UnreliableConnection(_) => self.next_unreliable(state, rail, seq, sink),
            Service::UnreliableDatagram(_) => self.next_datagram(state, sink),
        };
        if let Some(frame) = &frame {
            let len = frame.payload_len();
            trace::segment_sent(self.qpn, &frame.body, len, rail);
            let counters = &self.counters;
            counters.add(Counter::SentFrames, 1);
            counters.add(Counter::SentBytes, len.into());
        }
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
        frame
    }

    /// A rail of the route with the list `of` has gone down. What was sent over it imposes no ordering any more, also if it has
    /// arrived, and so is not handed back: there may be frames for other rails now.
    pub(crate) fn on_rail_down(self: &Arc<Self>, of: RosterId, now: Instant) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.route.is(of) {
            return;
        }
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
    }

    /// A frame that [`QueuePair::next_frame`] gave was lost.
    pub(crate) fn on_lost(
        self: &Arc<Self>,
        rail: RailId,
        seq: RailSeq,
        item: InFlight,
        now: Instant,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.service.handle_lost(item, rail, seq, &self.counters);
        let rails = self.process_events(state, now);
        self.schedule(guard, rails, TxHint::Deferred);
    }

    fn next_ack(&self, state: &mut State) -> Option<TxFrame> {
        let ack = state.service.reliable()?.connection.poll_ack()?;
        Some(TxFrame {
            body: Body::Ack(ack),
            item: InFlight::Ack { qpn: self.qpn },
            payload: FramePayload::Empty,
            regions: Regions::new(),
            departure: None,
        })
    }

    fn next_segment(
        self: &Arc<Self>,
        state: &mut State,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        sink: &mut impl FrameSink,
    ) -> Option<TxFrame> {
        // What comes next is known, and waited for.
        if state.paging.is_fetching() {
            return None;
        }
        loop {
            let slot = FrameSlot {
                rail,
                seq,
                room: sink.room(),
            };
            let rails = RailsOf(&state.route);
            let connection = &mut state.service.reliable()?.connection;
            match connection.poll_segment(slot, now, &rails)? {
                Segment::Response(segment) => {
                    let header = segment.header;
                    let psn = header.response_psn;
                    let item = InFlight::Response { qpn: self.qpn, psn };
                    match self.response_payload(&mut state.paging, &segment, sink) {
                        Ok((payload, regions)) => {
                            return Some(TxFrame {
                                body: Body::Response(header),
                                item,
                                payload,
                                regions,
                                departure: self.departure(
                                    &mut state.departures,
                                    Reader::Peer,
                                    payload,
                                ),
                            })
                        }
                        Err(NoPayload::Failed(code)) => {
                            connection.handle_response_failure(psn, code);
                        }
                        // It comes again when its payload is there.
                        Err(NoPayload::NotYet) => {
                            connection.handle_lost(item, rail, seq);
                            return None;
                        }
                    }
                }
                Segment::Request(segment) => {
                    let header = segment.header;
                    let psn = header.psn;
                    let item = InFlight::Request { qpn: self.qpn, psn };
                    match self.request_payload(state, &segment, sink) {
                        Ok((payload, regions)) => {
                            return Some(TxFrame {
                                body: Body::Request(header),
                                item,
                                payload,
                                regions,
                                departure: self.departure(
                                    &mut state.departures,
                                    Reader::Request(segment.source.slot),
                                    payload,
                                ),
                            })
                        }
                        Err(NoPayload::Failed(status)) => {
                            let slot = segment.source.slot;
                            state.service.handle_send_failure(slot, status);
                        }
                        // As above.
                        Err(NoPayload::NotYet) => {
                            let connection = &mut state.service.reliable()?.connection;
                            connection.handle_lost(item, rail, seq);
                            return None;
                        }
                    }
                }
            }
            sink.pages().clear();
        }
    }

    /// What tells that a payload has left which is read from memory of the kernel after this.
    fn departure(
        self: &Arc<Self>,
        departures: &mut Departures,
        reader: Reader,
        payload: FramePayload,
    ) -> Option<Departure> {
        match payload {
            FramePayload::Pages | FramePayload::PagesToStage if departures.are_counted() => {
                Some(Departure::of_kernel_memory(self, departures, reader))
            }
            FramePayload::Empty
            | FramePayload::Staged(_)
            | FramePayload::PagesToStage
            | FramePayload::Pages => None,
        }
    }

    /// The next segment of an unreliable connection.
    fn next_unreliable(
        self: &Arc<Self>,
        state: &mut State,
        rail: RailId,
        seq: RailSeq,
        sink: &mut impl FrameSink,
    ) -> Option<TxFrame> {
        let slot = FrameSlot {
            rail,
            seq,
            room: sink.room(),
        };
        let rails = RailsOf(&state.route);
        let connection = &mut state.service.unreliable()?.connection;
        let segment = connection.poll_segment(slot, &rails)?;
        match self.local_payload(state, &segment.source, Attempt::First, sink) {
            Ok((payload, regions)) => Some(TxFrame {
                body: Body::Unreliable(segment.header),
                item: InFlight::Unreliable { qpn: self.qpn },
                payload,
                regions,
                departure: Some(Departure::of_unreliable(self, segment.token)),
            }),
            Err(error) => {
                sink.pages().clear();
                let status = match error {
                    NoPayload::Failed(status) => status,
                    // What is sent once only is not kept waiting for pages.
                    NoPayload::NotYet => CompletionStatus::LocalProtectionError,
                };
                let connection = &mut state.service.unreliable()?.connection;
                connection.handle_departure(segment.token);
                connection.handle_send_failure(segment.source.slot, status);
                None
            }
        }
    }

    /// The next datagram, which is complete with that: its payload is copied.
    fn next_datagram(&self, state: &mut State, sink: &mut impl FrameSink) -> Option<TxFrame> {
        let Next::Stop(stop) = state.service.datagrams()?.next_stop(&*self.routes)? else {
            return None;
        };
        let len = stop.payload_len();
        if len > sink.room() {
            return None;
        }
        let staged = self.stage_datagram(state, &stop, sink);
        let datagrams = state.service.datagrams()?;
        if let Err(status) = staged {
            datagrams.sender.fail(stop.slot, status);
            return None;
        }
        datagrams.leave(&stop, &*self.routes);
        Some(TxFrame {
            body: Body::UnreliableDatagram(stop.header(self.qpn)),
            item: InFlight::UnreliableDatagram { qpn: self.qpn },
            payload: FramePayload::Staged(len as usize),
            regions: Regions::new(),
            departure: None,
        })
    }

    /// Puts network header and message into the sink.
    fn stage_datagram(
        &self,
        state: &State,
        stop: &Stop,
        sink: &mut impl FrameSink,
    ) -> Result<(), CompletionStatus> {
        let length = stop.request.length;
        let end = stop.payload_len() as usize;
        let header = stop.address.path.network_header(length);
        sink.staging()[..NETWORK_HEADER_LEN].copy_from_slice(&header);
        let message = LocalRange {
            slot: stop.slot,
            offset: 0,
            len: length,
        };
        let whereabouts = self
            .piece_to_send(&state.send_queue, &message)
            .ok_or(CompletionStatus::LocalQpOperationError)?;
        match whereabouts {
            Whereabouts::Inline(bytes) => {
                sink.staging()[NETWORK_HEADER_LEN..end].copy_from_slice(bytes);
            }
            Whereabouts::Memory(memory) => {
                sink.pages().clear();
                let regions = memory
                    .resolve(&self.regions, sink.pages())
                    // As for unreliable connections.
                    .map_err(|_: Unresolved| CompletionStatus::LocalProtectionError)?;
                let copied = sink.stage_pages(NETWORK_HEADER_LEN);
                drop(regions);
                copied.map_err(|_| CompletionStatus::LocalQpOperationError)?;
            }
        }
        Ok(())
    }

    /// Puts the payload of a response into the sink, and says where. Fails if the peer may not read the memory (any more).
    fn response_payload(
        &self,
        paging: &mut Paging,
        segment: &ResponseSegment,
        sink: &mut impl FrameSink,
    ) -> Result<(FramePayload, Regions), NoPayload<NakCode>> {
        let mut regions = Regions::new();
        let source = match &segment.source {
            ResponseSource::Memory(source) => source,
            ResponseSource::Value(value) => {
                let value = value.to_le_bytes();
                let len = value.len().min(segment.header.extent.len() as usize);
                return Ok((stage(&value[..len], sink), regions));
            }
        };
        if source.len > 0 {
            let memory = self.memory_to_read(source);
            let outgoing = Outgoing::Response(segment.header.response_psn, *source);
            match memory.resolve(&self.regions, sink.pages()) {
                Ok(found) => regions = found,
                Err(Unresolved::Denied) => return Err(NoPayload::Failed(NakCode::RemoteAccess)),
                Err(Unresolved::OnDemand) => {
                    return stage_on_demand(&self.regions, paging, outgoing, &memory, sink)
                        .map_err(|error| error.map(|AccessDenied| NakCode::RemoteAccess));
                }
            }
            paging.note_sent(outgoing);
        }
        Ok((payload_in_pages(source.len, segment.attempt), regions))
    }

    /// Checks that what an atomic operation is answered with can be placed: one that fails at this end had better change nothing
    /// at the other.
    fn check_answer_buffers(
        &self,
        state: &State,
        segment: &RequestSegment,
        sink: &mut impl FrameSink,
    ) -> Result<(), CompletionStatus> {
        let len = match &segment.header.operation {
            Operation::Execute(execute) => execute.action.answer_len(),
            Operation::Send { .. }
            | Operation::SendWithInvalidate { .. }
            | Operation::Write { .. }
            | Operation::Read(_) => 0,
        };
        if len == 0 {
            return Ok(());
        }
        let answer = LocalRange {
            slot: segment.source.slot,
            offset: 0,
            len,
        };
        let Some(Whereabouts::Memory(memory)) = self.place_for_answer(&state.send_queue, &answer)
        else {
            return Err(CompletionStatus::LocalQpOperationError);
        };
        match memory.resolve(&self.regions, sink.pages()) {
            // Pages that are not present are waited for when the answer has come.
            Ok(_) | Err(Unresolved::OnDemand) => {}
            Err(Unresolved::Denied) => return Err(CompletionStatus::LocalProtectionError),
        }
        sink.pages().clear();
        Ok(())
    }

    /// Puts the payload of a segment of a request into the sink, and says where. Fails if it cannot be had.
    fn request_payload(
        &self,
        state: &mut State,
        segment: &RequestSegment,
        sink: &mut impl FrameSink,
    ) -> Result<(FramePayload, Regions), NoPayload<CompletionStatus>> {
        if let Some(operands) = segment.operands {
            self.check_answer_buffers(state, segment, sink)
                .map_err(NoPayload::Failed)?;
            let len = segment.header.payload_len() as usize;
            let payload = stage(&operands.to_bytes()[..len], sink);
            return Ok((payload, Regions::new()));
        }
        let payload = self.local_payload(state, &segment.source, segment.attempt(), sink);
        let outgoing = Outgoing::Request(segment.header.psn, segment.source);
        match payload {
            Err(NoPayload::NotYet) => {
                let whereabouts = self.piece_to_send(&state.send_queue, &segment.source);
                let Some(Whereabouts::Memory(memory)) = whereabouts else {
                    return Err(NoPayload::Failed(CompletionStatus::LocalQpOperationError));
                };
                stage_on_demand(&self.regions, &mut state.paging, outgoing, &memory, sink).map_err(
                    |error| error.map(|AccessDenied| CompletionStatus::LocalProtectionError),
                )
            }
            payload => {
                state.paging.note_sent(outgoing);
                payload
            }
        }
    }

    /// Puts a piece of a message into the sink, and says where. Fails if it cannot be had, or not by its pages.
    fn local_payload(
        &self,
        state: &State,
        source: &LocalRange,
        attempt: Attempt,
        sink: &mut impl FrameSink,
    ) -> Result<(FramePayload, Regions), NoPayload<CompletionStatus>> {
        if source.len == 0 {
            return Ok((FramePayload::Empty, Regions::new()));
        }
        let whereabouts = self
            .piece_to_send(&state.send_queue, source)
            .ok_or(NoPayload::Failed(CompletionStatus::LocalQpOperationError))?;
        match whereabouts {
            Whereabouts::Inline(bytes) => Ok((stage(bytes, sink), Regions::new())),
            Whereabouts::Memory(memory) => {
                let regions = memory
                    .resolve(&self.regions, sink.pages())
                    .map_err(|error| match error {
                        Unresolved::Denied => {
                            NoPayload::Failed(CompletionStatus::LocalProtectionError)
                        }
                        Unresolved::OnDemand => NoPayload::NotYet,
                    })?;
                Ok((payload_in_pages(source.len, attempt), regions))
            }
        }
    }
}

/// Why there is no payload.
enum NoPayload<E> {
    /// It cannot be had.
    Failed(E),
    /// Its pages may not be present.
    NotYet,
}

impl<E> NoPayload<E> {
    fn map<F>(self, f: impl FnOnce(E) -> F) -> NoPayload<F> {
        match self {
            Self::Failed(error) => NoPayload::Failed(f(error)),
            Self::NotYet => NoPayload::NotYet,
        }
    }
}

/// Puts a payload whose pages may not be present into the sink's memory. If it cannot be had at once, it is fetched.
#[inline(never)]
fn stage_on_demand(
    table: &RegionTable,
    paging: &mut Paging,
    payload: Outgoing,
    memory: &Memory<'_>,
    sink: &mut impl FrameSink,
) -> Result<(FramePayload, Regions), NoPayload<AccessDenied>> {
    sink.pages().clear();
    let len = payload.len();
    let staging = &mut sink.staging()[..len];
    let staged = (FramePayload::Staged(len), Regions::new());
    if let Some(taken) = paging.take(payload, staging) {
        return taken.map(|()| staged).map_err(NoPayload::Failed);
    }
    let pieces = memory.pieces().map_err(NoPayload::Failed)?;
    match pieces.read(table, staging, &mut 0) {
        Ok(()) => {
            paging.note_sent(payload);
            Ok(staged)
        }
        Err(CopyStop::Denied) => Err(NoPayload::Failed(AccessDenied)),
        Err(CopyStop::Absent) => {
            paging.want(payload);
            Err(NoPayload::NotYet)
        }
    }
}

/// Puts a payload into the sink's memory.
fn stage(bytes: &[u8], sink: &mut impl FrameSink) -> FramePayload {
    if bytes.is_empty() {
        return FramePayload::Empty;
    }
    sink.staging()[..bytes.len()].copy_from_slice(bytes);
    FramePayload::Staged(bytes.len())
}

fn payload_in_pages(len: u32, attempt: Attempt) -> FramePayload {
    if len == 0 {
        FramePayload::Empty
    } else if len <= SMALL_PAYLOAD || attempt == Attempt::Again {
        FramePayload::PagesToStage
    } else {
        FramePayload::Pages
    }
}
