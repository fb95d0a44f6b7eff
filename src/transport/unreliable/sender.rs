// SPDX-License-Identifier: GPL-2.0

//! Sending side of an unreliable connection: cuts messages into segments, and completes them when their data has left.

use crate::transport::admission::Admission;
use crate::transport::connection::FrameSlot;
use crate::transport::frame::Extent;
use crate::transport::frame::SegmentFlags;
use crate::transport::frame::SegmentSize;
use crate::transport::frame::UnreliableHeader;
use crate::transport::frame::UnreliableOperation;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::ids::Epoch;
use crate::transport::ids::MessageSlot;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;
use crate::transport::message_number::MessageNumber;
use crate::transport::opcode::Opcode;
use crate::transport::opcode::MAX_MESSAGE;
use crate::transport::rail::hello::Features;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::DueOperation;
use crate::transport::requester::LocalOperation;
use crate::transport::requester::LocalRange;
use crate::transport::requester::LocalRequest;
use crate::transport::requester::PostError;
use crate::transport::requester::Rails;
use crate::transport::requester::SendCompletion;
use crate::transport::requester::SendRequest;
use crate::transport::requester::Solicitation;
use crate::transport::requester::Work;
use crate::transport::send_state::Failure;
use crate::transport::send_state::SendState;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::transport::storage::BadTableLength;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;
use crate::transport::storage::MAX_TABLE;

/// Attributes of the connection as the sender needs them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SenderConfig {
    /// Our queue pair.
    pub local_qpn: Qpn,
    /// The peer's queue pair.
    pub remote_qpn: Qpn,
    /// PSN of the first segment (`sq_psn`).
    pub initial_psn: Psn,
    /// How messages are cut: at most what this host takes itself.
    pub segment: SegmentSize,
}

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SenderCounters {
    /// Segments that rails have lost.
    pub lost_segments: u64,
}

/// Entry of the table of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnreliableMessage {
    request: SendRequest,
    /// What this host does itself, in place of anything that the request says but for what all have in common.
    local: Option<LocalOperation>,
    /// Segments that have been given out, and whose data has not left.
    leaving: u32,
}

/// Identifies a segment whose data is on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DepartureToken {
    epoch: Epoch,
    message: MessageNumber,
}

/// A segment to send: its header and where its payload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnreliableSegment {
    /// The header's part.
    pub header: UnreliableHeader,
    /// The payload.
    pub source: LocalRange,
    /// To be given back when the payload has left.
    pub token: DepartureToken,
}

/// Whether the peer takes what is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PeerAbility {
    /// It does, or nobody knows yet.
    Able,
    /// It does not know unreliable connections.
    Unable,
}

/// The newest frame that carries a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct NewestFrame {
    rail: RailId,
    seq: RailSeq,
}

/// Sender of a queue pair.
///
/// # Invariants
///
/// `completed` <= `current` <= `posted` (as distances), at most the table's length apart.
pub(super) struct Sender<S: Storage> {
    config: SenderConfig,
    state: SendState,
    admission: Admission,
    peer: PeerAbility,
    epoch: Epoch,
    table: Ring<S, UnreliableMessage>,
    /// All messages before this one have completed.
    completed: MessageNumber,
    /// All messages before this one have been cut to their ends.
    current: MessageNumber,
    /// Segments of `current` that have been given out.
    cut: u32,
    /// Number of the next message to be posted.
    posted: MessageNumber,
    next_psn: Psn,
    newest: Option<NewestFrame>,
    /// Segments of all messages that have been given out, and whose data has not left.
    leaving: u32,
    event: Option<QpEvent>,
    counters: SenderCounters,
}

impl SenderConfig {
    const UNCONNECTED: Self = Self {
        local_qpn: Qpn::new(0),
        remote_qpn: Qpn::new(0),
        initial_psn: Psn::new(0),
        segment: SegmentSize::LARGEST,
    };

    /// A hash that tells queue pairs apart, for the choice of a rail.
    const fn flow(&self) -> u32 {
        // Numbers of queue pairs follow each other; multiplied by 2^32 / the golden ratio they are spread over the circle.
        (self.local_qpn.get() ^ (self.remote_qpn.get() << 8)).wrapping_mul(0x9e37_79b1)
    }
}

impl<S: Storage> Sender<S> {
    /// A sender that is not connected.
    pub(super) fn new(messages: S::Table<UnreliableMessage>) -> Result<Self, BadTableLength> {
        Ok(Self {
            config: SenderConfig::UNCONNECTED,
            state: SendState::Idle,
            admission: Admission::Open,
            peer: PeerAbility::Able,
            epoch: Epoch::default(),
            table: Ring::new(messages, MAX_TABLE)?,
            completed: MessageNumber::FIRST,
            current: MessageNumber::FIRST,
            cut: 0,
            posted: MessageNumber::FIRST,
            next_psn: Psn::new(0),
            newest: None,
            leaving: 0,
            event: None,
            counters: SenderCounters::default(),
        })
    }

    pub(super) fn start(&mut self, config: SenderConfig) {
        self.reset();
        self.config = config;
        self.next_psn = config.initial_psn;
        self.state = SendState::Running;
    }

    pub(super) fn reset(&mut self) {
        self.epoch = self.epoch.next();
        self.config = SenderConfig::UNCONNECTED;
        self.state = SendState::Idle;
        self.admission = Admission::Open;
        self.peer = PeerAbility::Able;
        self.completed = self.posted;
        self.current = self.posted;
        self.cut = 0;
        self.newest = None;
        self.leaving = 0;
        self.event = None;
    }

    pub(super) fn agree(&mut self, limits: &Limits, features: Features) {
        self.peer = if features.contains(Features::UNRELIABLE_CONNECTIONS) {
            PeerAbility::Able
        } else {
            PeerAbility::Unable
        };
        // Segments of one message are of one size.
        if let Some(segment) = SegmentSize::new(limits.max_payload).filter(|_| self.cut == 0) {
            self.config.segment = self.config.segment.min(segment);
        }
        self.refuse_if_unable();
    }

    pub(super) fn drain(&mut self) {
        if self.admission == Admission::Open {
            self.admission = Admission::Draining;
        }
    }

    pub(super) fn resume(&mut self) {
        self.admission = Admission::Open;
        if self.state == SendState::Flushing {
            self.state = SendState::Running;
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.admission == Admission::Draining
    }

    pub(super) fn flush(&mut self) {
        self.state = SendState::Flushing;
    }

    pub(super) fn post(&mut self, request: SendRequest) -> Result<MessageSlot, PostError> {
        if self.state == SendState::Idle {
            return Err(PostError::NotConnected);
        }
        if request.length > MAX_MESSAGE {
            return Err(PostError::TooLong);
        }
        if self.room() == 0 {
            return Err(PostError::Full);
        }
        let (number, slot) = self.push(request, None);
        match request.opcode {
            Opcode::Send | Opcode::SendWithImm | Opcode::Write | Opcode::WriteWithImm => {}
            Opcode::SendWithInvalidate
            | Opcode::Read
            | Opcode::CompareSwap
            | Opcode::FetchAdd
            | Opcode::AtomicWrite
            | Opcode::Flush => self.fail(number, CompletionStatus::LocalQpOperationError),
        }
        self.refuse_if_unable();
        Ok(slot)
    }

    pub(super) fn post_local(&mut self, request: LocalRequest) -> Result<MessageSlot, PostError> {
        if self.state == SendState::Idle {
            return Err(PostError::NotConnected);
        }
        if self.room() == 0 {
            return Err(PostError::Full);
        }
        let (_, slot) = self.push(request.common(), Some(request.operation));
        self.refuse_if_unable();
        Ok(slot)
    }

    fn push(
        &mut self,
        request: SendRequest,
        local: Option<LocalOperation>,
    ) -> (MessageNumber, MessageSlot) {
        let number = self.posted;
        *self.table.at_mut(number.position()) = UnreliableMessage {
            request,
            local,
            leaving: 0,
        };
        self.posted = number.next();
        (number, self.slot_of(number))
    }

    fn slot_of(&self, number: MessageNumber) -> MessageSlot {
        MessageSlot(self.table.index(number.position()) as u16)
    }

    pub(super) fn due_local(&self) -> Option<DueOperation> {
        if !self.may_begin() || self.admission != Admission::Open {
            return None;
        }
        let operation = self.table.at(self.current.position()).local?;
        let may_run = match operation {
            LocalOperation::BindWindow | LocalOperation::Register => true,
            LocalOperation::Invalidate => self.completed == self.current,
        };
        may_run.then(|| DueOperation {
            slot: self.slot_of(self.current),
            operation,
        })
    }

    pub(super) fn finish_local(&mut self, slot: MessageSlot, result: Result<(), CompletionStatus>) {
        let is_due = self
            .due_local()
            .is_some_and(|operation| operation.slot == slot);
        match result {
            Ok(()) if is_due => self.current = self.current.next(),
            Err(status) if is_due => self.fail(self.current, status),
            // It was flushed meanwhile.
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn room(&self) -> u32 {
        self.table.len() - self.outstanding()
    }

    pub(super) const fn outstanding(&self) -> u32 {
        self.posted.distance_from(self.completed)
    }

    /// Whether there is one message to be sent, of one small frame.
    pub(super) fn has_little(&self) -> bool {
        let message = self.table.at(self.current.position());
        self.posted.distance_from(self.current) == 1
            && message.local.is_none()
            && message.request.length <= SMALL_PAYLOAD
    }

    pub(super) fn fail_message(&mut self, slot: MessageSlot, status: CompletionStatus) {
        let number = MessageNumber::in_slot(slot, self.completed, self.table.len());
        if number.distance_from(self.completed) < self.outstanding() {
            self.fail(number, status);
        }
    }

    /// The message fails, and with it those behind, unless one before it does.
    fn fail(&mut self, message: MessageNumber, status: CompletionStatus) {
        let failure = Failure { message, status };
        self.state.fail(failure, self.completed);
    }

    /// What has not begun fails if the peer cannot take it.
    fn refuse_if_unable(&mut self) {
        if self.peer == PeerAbility::Unable && self.current != self.posted {
            self.fail(self.current, CompletionStatus::LocalQpOperationError);
        }
    }

    pub(super) fn on_departure(&mut self, token: DepartureToken) {
        if token.epoch == self.epoch {
            let message = self.table.at_mut(token.message.position());
            message.leaving = message.leaving.saturating_sub(1);
            self.leaving = self.leaving.saturating_sub(1);
        }
    }

    pub(super) fn on_lost(&mut self) {
        self.counters.lost_segments += 1;
    }

    pub(super) fn next_segment(
        &mut self,
        slot: FrameSlot,
        rails: &(impl Rails + ?Sized),
    ) -> Option<UnreliableSegment> {
        if !self.has_work() || self.lane(rails) != Some(slot.rail) {
            return None;
        }
        let number = self.current;
        let message = self.table.at_mut(number.position());
        let request = message.request;
        let size = self.config.segment;
        let extent = Extent::of_segment(self.cut, size, request.length);
        if extent.len() > slot.room {
            return None;
        }
        message.leaving += 1;
        self.leaving += 1;
        let mut flags = SegmentFlags::none();
        if self.cut == 0 {
            flags = flags.with(SegmentFlags::FIRST);
        }
        self.cut += 1;
        if self.cut == size.segments_of(request.length) {
            flags = flags.with(SegmentFlags::LAST);
            if request.solicitation == Solicitation::Solicited {
                flags = flags.with(SegmentFlags::SOLICITED);
            }
            self.current = number.next();
            self.cut = 0;
        }
        let psn = self.next_psn;
        self.next_psn = psn.next();
        self.newest = Some(NewestFrame {
            rail: slot.rail,
            seq: slot.seq,
        });
        Some(UnreliableSegment {
            header: UnreliableHeader {
                dest_qpn: self.config.remote_qpn,
                src_qpn: self.config.local_qpn,
                psn,
                flags,
                operation: operation_of(&request, extent),
                extent,
            },
            source: LocalRange {
                slot: self.slot_of(number),
                offset: extent.offset(),
                len: extent.len(),
            },
            token: DepartureToken {
                epoch: self.epoch,
                message: number,
            },
        })
    }

    pub(super) fn rails_with_frames(&self, rails: &(impl Rails + ?Sized)) -> RailSet {
        if !self.has_work() {
            return RailSet::NONE;
        }
        // Without any, whatever comes up first is as good as any other.
        self.lane(rails).map_or(RailSet::ALL, RailSet::only)
    }

    /// The rail that the next segment goes over; nothing if none is up.
    ///
    /// It is the rail of the flow, as it is for frames of the network interface. But as long as something is under way over
    /// another one, it is that one: what is sent over two rails may overtake, and what is overtaken is lost. A rail that is down,
    /// or that has stalled, is not waited for.
    fn lane(&self, rails: &(impl Rails + ?Sized)) -> Option<RailId> {
        let choice = rails.answering();
        let busy = self.newest.filter(|newest| {
            // What has not left is not known to its rail.
            let is_under_way = || {
                self.leaving > 0
                    || rails.frame_status(newest.rail, newest.seq) == FrameStatus::InFlight
            };
            choice.len() > 1 && choice.contains(newest.rail) && is_under_way()
        });
        match busy {
            Some(newest) => Some(newest.rail),
            None => choice.of_flow(self.config.flow()),
        }
    }

    /// Whether there is a message whose turn it is, and none has failed before it.
    fn may_begin(&self) -> bool {
        self.current != self.posted && self.state.may_send(self.current, self.completed)
    }

    /// Whether there is a segment to send.
    fn has_work(&self) -> bool {
        // A local operation has to be carried out before anything behind it is sent.
        if !self.may_begin() || self.table.at(self.current.position()).local.is_some() {
            return false;
        }
        match self.admission {
            Admission::Open => true,
            Admission::Draining | Admission::Drained => self.cut > 0,
        }
    }

    pub(super) fn poll_completion(&mut self) -> Option<SendCompletion> {
        let number = self.completed;
        if self.state == SendState::Idle || number == self.posted {
            return None;
        }
        let message = *self.table.at(number.position());
        // Its memory is still being looked at.
        if message.leaving > 0 {
            return None;
        }
        let status = match self.state {
            SendState::Failing(failure) if failure.message == number => {
                self.state = SendState::Flushing;
                self.event = Some(QpEvent::SendFailed);
                failure.status
            }
            _ if number != self.current => CompletionStatus::Success,
            SendState::Flushing => CompletionStatus::FlushError,
            SendState::Idle | SendState::Running | SendState::Failing(_) => return None,
        };
        if number == self.current {
            self.current = number.next();
            self.cut = 0;
        }
        self.completed = number.next();
        let request = message.request;
        Some(SendCompletion {
            slot: self.slot_of(number),
            wr_id: request.wr_id,
            work: match message.local {
                Some(operation) => Work::Local(operation),
                None => Work::Remote(request.opcode),
            },
            status,
            byte_len: request.length,
            signalling: request.signalling,
        })
    }

    pub(super) fn poll_event(&mut self) -> Option<QpEvent> {
        let has_begun = self.completed != self.current || self.cut > 0;
        if self.admission == Admission::Draining && self.state == SendState::Running && !has_begun {
            self.admission = Admission::Drained;
            return Some(QpEvent::SendQueueDrained);
        }
        self.event.take()
    }

    pub(super) fn next_psn(&self) -> Option<Psn> {
        (self.state != SendState::Idle).then_some(self.next_psn)
    }

    pub(super) const fn counters(&self) -> SenderCounters {
        self.counters
    }
}

/// What the segment with this piece of a message does.
fn operation_of(request: &SendRequest, extent: Extent) -> UnreliableOperation {
    let imm = request.opcode.has_imm().then_some(request.imm);
    if request.opcode.names_memory() {
        UnreliableOperation::Write {
            imm,
            // Where a message wraps around the end of the address space, the receiver refuses what does.
            va: request.remote_va.wrapping_add(extent.offset().into()),
            rkey: request.rkey,
        }
    } else {
        UnreliableOperation::Send { imm }
    }
}
