// SPDX-License-Identifier: GPL-2.0

//! Frames a QP has to send.

use kernel::sync::Arc;

use super::queue_pair::QueuePair;
use super::queue_pair::State;
use super::send_queue::Buffers;
use super::timer::RailsOf;
use crate::transport::attempt::Attempt;
use crate::transport::connection::FrameSlot;
use crate::transport::connection::Segment;
use crate::transport::frame::AckHeader;
use crate::transport::frame::Body;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::ids::Instant;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::InFlight;
use crate::transport::requester::RequestSegment;
use crate::transport::responder::ResponseSegment;
use crate::transport::status::CompletionStatus;
use crate::transport::status::NakCode;
use crate::verbs::counters::Counter;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::Regions;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::route::FrameSink;
use crate::verbs::route::TxHint;
use crate::verbs::route_slot::RosterId;

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
}

impl TxFrame {
    /// The last acknowledgement of a QP that is gone.
    pub(crate) fn final_ack(ack: AckHeader) -> Self {
        Self {
            item: InFlight::Ack { qpn: ack.src_qpn },
            body: Body::Ack(ack),
            payload: FramePayload::Empty,
            regions: Regions::new(),
        }
    }

    fn payload_len(&self) -> u32 {
        match &self.body {
            Body::Request(header) => header.payload_len(),
            Body::Response(header) => header.extent.len(),
            Body::Ack(_)
            | Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_) => 0,
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
        let frame = self
            .next_ack(state)
            .or_else(|| self.next_segment(state, rail, seq, now, sink));
        if let Some(frame) = &frame {
            let counters = &self.counters;
            counters.add(Counter::SentFrames, 1);
            counters.add(Counter::SentBytes, frame.payload_len().into());
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
        state.service.handle_lost(item, rail, seq);
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
        })
    }

    fn next_segment(
        &self,
        state: &mut State,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        sink: &mut impl FrameSink,
    ) -> Option<TxFrame> {
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
                    match self.response_payload(&segment, sink) {
                        Ok(regions) => {
                            return Some(TxFrame {
                                body: Body::Response(header),
                                item: InFlight::Response { qpn: self.qpn, psn },
                                payload: payload_in_pages(segment.source.len, segment.attempt),
                                regions,
                            })
                        }
                        Err(code) => connection.handle_response_failure(psn, code),
                    }
                }
                Segment::Request(segment) => {
                    let header = segment.header;
                    let psn = header.psn;
                    match self.request_payload(state, &segment, sink) {
                        Ok((payload, regions)) => {
                            return Some(TxFrame {
                                body: Body::Request(header),
                                item: InFlight::Request { qpn: self.qpn, psn },
                                payload,
                                regions,
                            })
                        }
                        Err(status) => {
                            let slot = segment.source.slot;
                            state.service.handle_send_failure(slot, status);
                        }
                    }
                }
            }
            sink.pages().clear();
        }
    }

    /// Puts the payload of a response into the sink's pages. Fails if the peer may not read the memory (any more).
    fn response_payload(
        &self,
        segment: &ResponseSegment,
        sink: &mut impl FrameSink,
    ) -> Result<Regions, NakCode> {
        let source = &segment.source;
        let mut regions = Regions::new();
        if source.len > 0 {
            let needs = Needs {
                pd: self.pd,
                peer_of: Some(self.qpn),
                access: Access::RemoteRead.into(),
            };
            let region = self.regions.resolve(
                Key(source.rkey.0),
                source.va,
                source.len as usize,
                needs,
                sink.pages(),
            );
            regions.add(region.map_err(|AccessDenied| NakCode::RemoteAccess)?);
        }
        Ok(regions)
    }

    /// Puts the payload of a segment of a request into the sink, and says where. Fails if it cannot be had.
    fn request_payload(
        &self,
        state: &State,
        segment: &RequestSegment,
        sink: &mut impl FrameSink,
    ) -> Result<(FramePayload, Regions), CompletionStatus> {
        let source = &segment.source;
        if source.len == 0 {
            return Ok((FramePayload::Empty, Regions::new()));
        }
        match state.send_queue.buffers(source.slot) {
            Buffers::Inline(bytes) => {
                let len = source.len as usize;
                let from = source.offset as usize;
                let bytes = bytes
                    .get(from..from + len)
                    .ok_or(CompletionStatus::LocalQpOperationError)?;
                sink.staging()[..len].copy_from_slice(bytes);
                Ok((FramePayload::Staged(len), Regions::new()))
            }
            Buffers::Elements(elements) => {
                let needs = Needs {
                    pd: self.pd,
                    peer_of: None,
                    access: AccessFlags::empty(),
                };
                let regions = elements
                    .resolve(
                        source.offset,
                        source.len,
                        needs,
                        &self.regions,
                        sink.pages(),
                    )
                    .map_err(|AccessDenied| CompletionStatus::LocalProtectionError)?;
                Ok((payload_in_pages(source.len, segment.attempt()), regions))
            }
        }
    }
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
