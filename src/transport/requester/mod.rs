// SPDX-License-Identifier: GPL-2.0

//! Requester of a reliable connection: turns posted requests into segments and acknowledgements
//! into completions.

mod abilities;
mod acknowledge;
mod local;
mod messages;
mod nak;
mod read;
mod recovery;
mod segment;
mod timer;
mod window;

use super::admission::Admission;
use super::attempt::Attempt;
use super::bitmap::power_of_two_up_to;
use super::bitmap::MAX_WINDOW;
use super::frame::Action;
use super::frame::Flush;
use super::frame::Operands;
use super::frame::RequestHeader;
use super::frame::SegmentFlags;
use super::frame::SegmentSize;
use super::ids::Epoch;
use super::ids::Instant;
use super::ids::MessageSlot;
use super::ids::NakSerial;
use super::ids::Psn;
use super::ids::Qpn;
use super::ids::Rkey;
use super::limits::Limits;
use super::limits::MAX_READS;
use super::message_number::MessageNumber;
use super::opcode::Opcode;
use super::opcode::MAX_MESSAGE;
use super::rail::hello::Features;
use super::send_state::Failure;
use super::send_state::SendState;
use super::status::CompletionStatus;
use super::status::QpEvent;
use super::storage::BadTableLength;
use super::storage::Ring;
use super::storage::Storage;
use super::storage::MAX_TABLE;
use super::timing::AckTimeout;
use super::timing::RetryLimit;

use messages::Executor;
use messages::Messages;
use read::Reads;
use recovery::Recovery;
use window::SendWindow;

pub(super) use read::MAX_RESPONSES;

pub use abilities::needed_for;
pub use local::DueOperation;
pub use local::LocalOperation;
pub use local::LocalRequest;
pub use messages::Message;
pub use read::ReadSlot;
pub use read::ResponseDisposition;
pub use read::ResponseIgnored;
pub use read::ResponsePlacement;
pub use read::ResponseToken;
pub use timer::Rails;
pub use timer::OUTAGE_RETRY;
pub use window::SegmentSlot;

/// Attributes of the connection as the requester needs them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequesterConfig {
    /// Our queue pair.
    pub local_qpn: Qpn,
    /// The peer's queue pair.
    pub remote_qpn: Qpn,
    /// PSN of the first request (`sq_psn`). The responses of the peer count from it as well.
    pub initial_psn: Psn,
    /// How messages are cut, and the answers to READs: at most what this host takes itself, see [`Requester::agree`].
    pub segment: SegmentSize,
    /// How many PSNs may be outstanding; the tables may limit it further.
    pub window: u16,
    /// How many READs may be outstanding.
    pub max_rd_atomic: u8,
    /// Local ACK timeout.
    pub timeout: AckTimeout,
    /// `retry_cnt`.
    pub retry: RetryLimit,
    /// `rnr_retry`.
    pub rnr_retry: RetryLimit,
}

/// Whether the success of a request is to be reported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Signalling {
    /// Only failure is reported.
    #[default]
    Unsignalled,
    /// Success is reported, too.
    Signalled,
}

/// Whether the receiver's completion is to raise an event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Solicitation {
    /// Only if the receiver wants an event for every completion.
    #[default]
    Unsolicited,
    /// Also if it wants events for solicited ones only.
    Solicited,
}

/// Whether a request waits for READs, atomic operations and FLUSHes before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fencing {
    /// The request may start before they are complete.
    #[default]
    Unfenced,
    /// The request starts when all of them are complete.
    Fenced,
}

/// A request to post.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SendRequest {
    /// The user's name for it.
    pub wr_id: u64,
    /// Operation of the request.
    pub opcode: Opcode,
    /// Whether to report success.
    pub signalling: Signalling,
    /// Whether to wake the receiver.
    pub solicitation: Solicitation,
    /// Whether to wait for READs.
    pub fencing: Fencing,
    /// Bytes of the message, or of what is to be flushed, up to 2^31.
    pub length: u32,
    /// Address at the peer, of an opcode that names memory.
    pub remote_va: u64,
    /// Key at the peer, of an opcode that names memory. SEND WITH INVALIDATE: the peer's key that becomes invalid.
    pub rkey: Rkey,
    /// Immediate data, if the opcode has any; handed through as it is.
    pub imm: u32,
    /// Operands, if the opcode has any.
    pub operands: Operands,
    /// What a FLUSH is to do.
    pub flush: Flush,
}

impl SendRequest {
    /// What is to be done in the peer's memory, of an atomic operation or a FLUSH.
    const fn action(&self) -> Option<Action> {
        match self.opcode {
            Opcode::CompareSwap => Some(Action::CompareSwap),
            Opcode::FetchAdd => Some(Action::FetchAdd),
            Opcode::AtomicWrite => Some(Action::AtomicWrite),
            Opcode::Flush => Some(Action::Flush {
                flush: self.flush,
                length: self.length,
            }),
            Opcode::Send
            | Opcode::SendWithImm
            | Opcode::SendWithInvalidate
            | Opcode::Write
            | Opcode::WriteWithImm
            | Opcode::Read => None,
        }
    }

    /// Bytes that all its segments carry together.
    const fn carried(&self) -> u32 {
        if self.opcode.is_answered() {
            self.opcode.operands_len()
        } else {
            self.length
        }
    }

    /// Bytes of the answer, if it is answered.
    const fn answer_len(&self) -> u32 {
        match self.action() {
            Some(action) => action.answer_len(),
            None => self.length,
        }
    }
}

/// Why a request cannot be posted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PostError {
    /// No room until completions are polled.
    Full,
    /// The message is longer than 2^31 bytes.
    TooLong,
    /// The queue pair has not been connected.
    NotConnected,
}

/// What a request of the send queue was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// The peer had to carry it out.
    Remote(Opcode),
    /// This host had to.
    Local(LocalOperation),
}

/// A completion of the send queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendCompletion {
    /// What the request was posted as; free again.
    pub slot: MessageSlot,
    /// The user's name for it.
    pub wr_id: u64,
    /// What was to be done.
    pub work: Work,
    /// How the request ended.
    pub status: CompletionStatus,
    /// Bytes of the message.
    pub byte_len: u32,
    /// Whether it was to be reported if successful; failures always are.
    pub signalling: Signalling,
}

impl SendCompletion {
    /// Whether the user is to see it.
    pub fn is_reported(&self) -> bool {
        self.signalling == Signalling::Signalled || self.status != CompletionStatus::Success
    }
}

/// A piece of the local buffers of a posted request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalRange {
    /// The request.
    pub slot: MessageSlot,
    /// Where the piece begins within the message.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// A segment to send: its header and where its payload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestSegment {
    /// The header's part.
    pub header: RequestHeader,
    /// The payload; empty for what is answered.
    pub source: LocalRange,
    /// The payload of an atomic operation: as much of them as the header says.
    pub operands: Option<Operands>,
}

impl RequestSegment {
    /// Whether it was sent before.
    pub fn attempt(&self) -> Attempt {
        if self.header.flags.contains(SegmentFlags::REPEAT) {
            Attempt::Again
        } else {
            Attempt::First
        }
    }
}

/// Tables of a requester. All lengths are powers of two.
pub struct RequesterTables<S: Storage> {
    /// Requests posted and not polled: the depth of the send queue.
    pub messages: S::Table<Message>,
    /// Segments outstanding: the window, at most [`MAX_WINDOW`].
    pub segments: S::Table<SegmentSlot>,
    /// READs, atomic operations and FLUSHes outstanding: at least the largest `max_rd_atomic`.
    pub reads: S::Table<ReadSlot>,
}

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequesterCounters {
    /// Segments sent again.
    pub repeated_segments: u64,
    /// Timeouts that made everything outstanding be sent again.
    pub timeouts: u64,
    /// RNR NAKs acted upon.
    pub rnr_naks: u64,
    /// Sequence NAKs acted upon.
    pub sequence_naks: u64,
    /// Frames of the peer that cannot be answers to what was sent.
    pub bogus: u64,
}

/// Requester of a queue pair.
pub struct Requester<S: Storage> {
    config: RequesterConfig,
    state: SendState,
    epoch: Epoch,
    admission: Admission,
    /// What the peer is known to be able to do.
    peer_features: Features,
    messages: Messages<S>,
    window: SendWindow<S>,
    reads: Reads<S>,
    recovery: Recovery,
    /// The newest NAK that was acted upon.
    newest_nak: NakSerial,
    event: Option<QpEvent>,
    counters: RequesterCounters,
}

impl RequesterConfig {
    /// Of a requester that is not connected.
    pub(super) const UNCONNECTED: Self = Self {
        local_qpn: Qpn::new(0),
        remote_qpn: Qpn::new(0),
        initial_psn: Psn::new(0),
        segment: SegmentSize::LARGEST,
        window: 1,
        max_rd_atomic: 0,
        timeout: AckTimeout::new(0),
        retry: RetryLimit::Times(0),
        rnr_retry: RetryLimit::Times(0),
    };
}

impl<S: Storage> Requester<S> {
    /// A requester that is not connected.
    ///
    /// # Errors
    ///
    /// If a table's length is not a power of two, or out of range.
    pub fn new(tables: RequesterTables<S>) -> Result<Self, BadTableLength> {
        Ok(Self {
            config: RequesterConfig::UNCONNECTED,
            state: SendState::Idle,
            epoch: Epoch::default(),
            admission: Admission::Open,
            peer_features: Features::NONE,
            messages: Messages::new(Ring::new(tables.messages, MAX_TABLE)?),
            window: SendWindow::new(Ring::new(tables.segments, MAX_WINDOW as usize)?),
            reads: Reads::new(Ring::new(tables.reads, MAX_READS)?),
            recovery: Recovery::new(),
            newest_nak: NakSerial::NONE,
            event: None,
            counters: RequesterCounters::default(),
        })
    }

    /// Connects (transition to RTS). Everything of an earlier life is forgotten.
    pub fn start(&mut self, config: RequesterConfig) {
        self.reset();
        self.config = config;
        let window = u32::from(config.window).clamp(1, self.window.capacity());
        let window = power_of_two_up_to(window);
        self.window.start(config.initial_psn, window);
        self.reads.start(config.initial_psn, window);
        self.recovery.start(&self.config);
        self.state = SendState::Running;
    }

    /// The peer's limits are known: from now on neither they nor our own are exceeded. To be called
    /// before the first segment is asked for, and again when [`Self::set_max_rd_atomic`] has been called or the peer is
    /// another one.
    pub fn agree(&mut self, peer: &Limits) {
        let window = u32::from(peer.window).clamp(1, self.window.size());
        self.window.shrink(power_of_two_up_to(window));
        self.config.max_rd_atomic = self.config.max_rd_atomic.min(peer.max_rd_atomic);
        // Segments of one message are of one size, and so are the answers to a READ.
        let has_begun =
            self.messages.is_admitting() || !self.window.is_empty() || self.reads.outstanding() > 0;
        if let Some(segment) = SegmentSize::new(peer.max_payload).filter(|_| !has_begun) {
            self.config.segment = self.config.segment.min(segment);
        }
    }

    /// What the peer offers is known: requests for which that is not enough fail when their turn comes. To be called before the
    /// first segment is asked for, and again when the peer is another one.
    pub fn set_peer_features(&mut self, features: Features) {
        self.peer_features = features;
    }

    /// Forgets everything (transition to RESET).
    pub fn reset(&mut self) {
        self.epoch = self.epoch.next();
        self.state = SendState::Idle;
        self.admission = Admission::Open;
        self.peer_features = Features::NONE;
        self.messages.reset();
        self.window.start(Psn::new(0), 1);
        self.reads.start(Psn::new(0), 1);
        self.recovery = Recovery::new();
        self.newest_nak = NakSerial::NONE;
        self.event = None;
    }

    /// Changes attributes of a connected queue pair that may change in state SQD. The timer starts anew.
    pub fn set_timing(
        &mut self,
        timeout: AckTimeout,
        retry: RetryLimit,
        rnr_retry: RetryLimit,
        now: Instant,
    ) {
        self.config.timeout = timeout;
        self.config.retry = retry;
        self.config.rnr_retry = rnr_retry;
        self.recovery.replenish_timed(&self.config);
        if !self.recovery.is_rnr_waiting() && self.is_waiting() {
            self.arm(now);
        }
    }

    /// Changes how many READs may be outstanding, as may be done in state SQD: at most as many as the table has entries for.
    /// Afterwards call [`Self::agree`] again.
    pub fn set_max_rd_atomic(&mut self, max_rd_atomic: u8) {
        self.config.max_rd_atomic = max_rd_atomic;
    }

    /// Posts a request. After a failure it will be flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post(&mut self, request: SendRequest, now: Instant) -> Result<MessageSlot, PostError> {
        if self.state == SendState::Idle {
            return Err(PostError::NotConnected);
        }
        if request.length > MAX_MESSAGE {
            return Err(PostError::TooLong);
        }
        let number = self
            .messages
            .push(request, Executor::Peer)
            .ok_or(PostError::Full)?;
        if !self.recovery.is_armed() {
            self.arm(now);
        }
        Ok(self.messages.slot_of(number))
    }

    /// How many more requests can be posted.
    pub fn room(&self) -> u32 {
        self.messages.room()
    }

    /// How many requests have been posted and are not complete.
    pub const fn outstanding(&self) -> u32 {
        self.messages.outstanding()
    }

    /// The oldest request that has not been polled as complete: the one that [`Self::poll_completion`] is about.
    pub fn oldest_request(&self) -> Option<MessageSlot> {
        let number = self.messages.oldest()?;
        Some(self.messages.slot_of(number))
    }

    /// The next completion, in the order of posting. Unsuccessful ones end the queue: all behind are
    /// flushed.
    pub fn poll_completion(&mut self) -> Option<SendCompletion> {
        let number = self.messages.oldest()?;
        let status = match self.state {
            SendState::Idle => return None,
            SendState::Running if self.messages.is_complete(number) => CompletionStatus::Success,
            SendState::Running => return None,
            SendState::Failing(failure) if failure.message == number => {
                // Data may still be arriving in the buffers of a READ.
                if self.reads.is_placing() {
                    return None;
                }
                self.enter_flushing();
                if failure.status != CompletionStatus::FlushError {
                    self.event = Some(QpEvent::SendFailed);
                }
                failure.status
            }
            SendState::Failing(_) if self.messages.is_complete(number) => CompletionStatus::Success,
            SendState::Failing(_) => return None,
            SendState::Flushing => CompletionStatus::FlushError,
        };
        match self.state {
            SendState::Flushing => self.messages.flush_oldest(),
            SendState::Idle | SendState::Running | SendState::Failing(_) => {
                self.messages.pop_oldest()
            }
        }
        let message = self.messages.at(number);
        let request = &message.request;
        Some(SendCompletion {
            slot: self.messages.slot_of(number),
            wr_id: request.wr_id,
            work: match message.executor {
                Executor::Peer => Work::Remote(request.opcode),
                Executor::Host(operation, _) => Work::Local(operation),
            },
            status,
            byte_len: request.length,
            signalling: request.signalling,
        })
    }

    /// Something the owner must act upon, if anything. The failure of a message is one when its completion has been polled.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        if self.admission == Admission::Draining
            && self.state == SendState::Running
            && !self.is_waiting()
        {
            self.admission = Admission::Drained;
            return Some(QpEvent::SendQueueDrained);
        }
        self.event.take()
    }

    /// A posted request cannot be carried out for a reason found on this side, such as a local buffer
    /// without a memory region: it fails with `status` when those before it are complete. One that has been carried out
    /// cannot fail any more.
    pub fn fail_message(&mut self, slot: MessageSlot, status: CompletionStatus) {
        let number = self.messages.find(slot);
        if let Some(number) = number.filter(|&number| !self.messages.is_complete(number)) {
            self.fail(number, status);
        }
    }

    /// Flushes all that is not complete (transition to ERR).
    pub fn flush(&mut self) {
        match self.state {
            SendState::Idle => {}
            SendState::Running | SendState::Failing(_) => {
                let first = self.messages.first_incomplete();
                self.state = SendState::Failing(Failure {
                    message: first,
                    status: CompletionStatus::FlushError,
                });
                self.recovery.stop();
            }
            SendState::Flushing => {}
        }
    }

    /// Begins no more messages (transition to SQD). Once all that were begun are complete, there is a
    /// [`QpEvent::SendQueueDrained`].
    pub fn drain(&mut self) {
        if self.state == SendState::Running && self.admission == Admission::Open {
            self.admission = Admission::Draining;
        }
    }

    /// Begins messages again (transition from SQD to RTS).
    pub fn resume(&mut self, now: Instant) {
        self.admission = Admission::Open;
        if self.state == SendState::Running && !self.recovery.is_armed() && self.is_waiting() {
            self.arm(now);
        }
    }

    /// PSN of the next new request; nothing if not connected.
    pub fn next_psn(&self) -> Option<Psn> {
        (self.state != SendState::Idle).then_some(self.window.next())
    }

    /// Whether messages begun before [`Self::drain`] are being waited for; not any more once
    /// [`QpEvent::SendQueueDrained`] has been polled.
    pub fn is_draining(&self) -> bool {
        self.admission == Admission::Draining && self.state == SendState::Running
    }

    /// Counters of rare events.
    pub const fn counters(&self) -> RequesterCounters {
        self.counters
    }

    /// The message with running number `message` fails with `status`, unless an earlier one does.
    fn fail(&mut self, message: MessageNumber, status: CompletionStatus) {
        let failure = Failure { message, status };
        // The segment that asked for an acknowledgement of what is before the failed message may be one of that message,
        // and the responder may never get to it.
        self.window.forget_ack_requests();
        self.state.fail(failure, self.messages.base());
    }

    fn enter_flushing(&mut self) {
        self.state = SendState::Flushing;
        self.recovery.stop();
    }

    /// Segments could not be sent for a while for want of their payload, which the peer is not to blame for: the ACK timer
    /// starts anew.
    pub fn restart_timer(&mut self, now: Instant) {
        if !self.recovery.is_rnr_waiting() && self.is_waiting() {
            self.arm(now);
        }
    }

    /// Starts the ACK timer anew, if there is anything to wait for.
    fn arm(&mut self, now: Instant) {
        match self.state {
            SendState::Running | SendState::Failing(_) => {
                self.recovery.arm(self.config.timeout, now)
            }
            SendState::Idle | SendState::Flushing => self.recovery.disarm(),
        }
    }
}
