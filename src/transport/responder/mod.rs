// SPDX-License-Identifier: GPL-2.0

//! Responder of a reliable connection: says where segments of requests go, completes messages in
//! order, and answers READs.

mod execution;
mod nak;
mod processing;
mod receive;
mod request;
mod response;
mod window;

use super::bitmap::power_of_two_up_to;
use super::bitmap::PsnSet;
use super::bitmap::MAX_WINDOW;
use super::event_state::EventState;
use super::frame::AckHeader;
use super::frame::Operands;
use super::frame::Operation;
use super::frame::SegmentFlags;
use super::frame::Syndrome;
use super::held::FEW;
use super::ids::Epoch;
use super::ids::Psn;
use super::ids::Qpn;
use super::limits::Limits;
use super::limits::MAX_READS;
use super::open_message::OpenMessage;
use super::status::CompletionStatus;
use super::status::QpEvent;
use super::storage::BadTableLength;
use super::storage::Ring;
use super::storage::Storage;
use super::storage::MAX_TABLE;
use super::timing::RnrTimer;

use nak::Naks;
use window::RequestWindow;
use window::SlotState;

pub use execution::Execution;
pub use receive::KeyNotValid;
pub use receive::Receive;
pub use receive::ReceiveCompletion;
pub use receive::ReceiveQueue;
pub use receive::Soundness;
pub use receive::TakenReceive;
pub use request::Disposition;
pub use request::DropReason;
pub use request::RequestToken;
pub use response::RemoteRange;
pub use response::ResponseSegment;
pub use response::ResponseSlot;
pub use response::ResponseSource;
pub use response::ServedRead;

/// Attributes of the connection as the responder needs them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponderConfig {
    /// Our queue pair.
    pub local_qpn: Qpn,
    /// The peer's queue pair.
    pub remote_qpn: Qpn,
    /// PSN of the first request (`rq_psn`). Our responses count from it as well.
    pub initial_psn: Psn,
    /// How many PSNs may be outstanding, of requests and of our responses; the tables may limit it
    /// further. See also [`Responder::agree`].
    pub window: u16,
    /// How many READs, atomic operations and FLUSHes the peer may have outstanding (`max_dest_rd_atomic`).
    pub max_dest_rd_atomic: u8,
    /// How long the peer is to wait when no receive request is there (`min_rnr_timer`).
    pub rnr_timer: RnrTimer,
}

/// Tables of a responder. All lengths are powers of two.
pub struct ResponderTables<S: Storage> {
    /// Requests outstanding: the window, at most [`MAX_WINDOW`].
    pub requests: S::Table<RequestSlot>,
    /// Receives taken for messages that are not complete: as long as the window.
    pub receives: S::Table<TakenReceive>,
    /// READs, atomic operations and FLUSHes being answered: at least the largest `max_dest_rd_atomic`.
    pub reads: S::Table<ServedRead>,
    /// Responses outstanding: as long as the window.
    pub responses: S::Table<ResponseSlot>,
}

/// Entry of the table of requests in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSlot {
    state: SlotState,
    flags: SegmentFlags,
    operation: Operation,
    operands: Operands,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not connected.
    Idle,
    /// Working.
    Running,
    /// A request is refused; answers to READs before it are still being delivered.
    Failing(Fault),
    /// In the error state.
    Failed,
}

/// A refused request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fault {
    syndrome: Syndrome,
    event: QpEvent,
    /// Responses before this one are delivered first.
    responses_until: Psn,
    /// How the receive of the refused message ends.
    receive: FaultyReceive,
}

/// How the receive of a refused message ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FaultyReceive {
    /// It is flushed like all others, if there is one.
    Flushed,
    /// With this status: it is what was wrong.
    Failed(CompletionStatus),
}

/// Counters of rare events, for diagnosis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResponderCounters {
    /// Requests that had been processed, or were being processed, before.
    pub duplicates: u64,
    /// Requests far from the window or from the wrong queue pair.
    pub bogus: u64,
    /// RNR NAKs given.
    pub rnr_naks: u64,
    /// Sequence NAKs given.
    pub sequence_naks: u64,
    /// Responses sent again.
    pub repeated_responses: u64,
}

/// Responder of a queue pair.
pub struct Responder<S: Storage> {
    config: ResponderConfig,
    state: State,
    epoch: Epoch,

    window: RequestWindow<S>,
    naks: Naks,
    /// Requests whose payload is being placed.
    placing: u32,
    open: Option<OpenMessage>,

    receives: receive::Receives<S>,
    served: response::Served<S>,

    ack: DueAck,
    established: EventState,
    event: Option<QpEvent>,
    last_wqe: EventState,
    counters: ResponderCounters,
}

/// Whether an acknowledgement is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DueAck {
    /// It is not.
    None,
    /// It is: so many requests have been processed that want one.
    Of(u32),
    /// It is: something was wrong, or may be, and the peer waits to hear of it.
    Urgent,
}

impl DueAck {
    /// A request has been processed that wants one.
    fn note_processed(&mut self) {
        *self = match *self {
            Self::None => Self::Of(1),
            Self::Of(requests) => Self::Of(requests.saturating_add(1)),
            Self::Urgent => Self::Urgent,
        };
    }
}

const UNCONNECTED: ResponderConfig = ResponderConfig {
    local_qpn: Qpn::new(0),
    remote_qpn: Qpn::new(0),
    initial_psn: Psn::new(0),
    window: 1,
    max_dest_rd_atomic: 0,
    rnr_timer: RnrTimer::new(0),
};

impl<S: Storage> Responder<S> {
    /// A responder that is not connected.
    ///
    /// # Errors
    ///
    /// If a table's length is not a power of two, or out of range.
    pub fn new(tables: ResponderTables<S>) -> Result<Self, BadTableLength> {
        let window = MAX_WINDOW as usize;
        Ok(Self {
            config: UNCONNECTED,
            state: State::Idle,
            epoch: Epoch::default(),
            window: RequestWindow::new(Ring::new(tables.requests, window)?),
            naks: Naks::new(),
            placing: 0,
            open: None,
            receives: receive::Receives::new(Ring::new(tables.receives, MAX_TABLE)?),
            served: response::Served::new(
                Ring::new(tables.reads, MAX_READS)?,
                Ring::new(tables.responses, window)?,
            ),
            ack: DueAck::None,
            established: EventState::Unreached,
            event: None,
            last_wqe: EventState::Unreached,
            counters: ResponderCounters::default(),
        })
    }

    /// Connects (transition to RTR). Everything of an earlier life is forgotten.
    pub fn start(&mut self, config: ResponderConfig) {
        self.reset();
        let limit = self
            .window
            .capacity()
            .min(self.receives.capacity())
            .min(self.served.window_limit());
        let window = u32::from(config.window).clamp(1, limit);
        let window = power_of_two_up_to(window);
        self.config = config;
        self.window.start(config.initial_psn, window);
        self.served.start(config.initial_psn, window);
        self.state = State::Running;
    }

    /// The peer's limits are known: from now on our responses keep to them. To be called before the
    /// first response is asked for.
    pub fn agree(&mut self, peer: &Limits) {
        self.served.shrink_window(u32::from(peer.window));
    }

    /// Forgets everything (transition to RESET). Receives that had been taken are not flushed.
    pub fn reset(&mut self) {
        self.epoch = self.epoch.next();
        self.state = State::Idle;
        self.config = UNCONNECTED;
        self.window.reset();
        self.naks = Naks::new();
        self.placing = 0;
        self.open = None;
        self.receives.reset();
        self.served.start(Psn::new(0), 1);
        self.ack = DueAck::None;
        self.established = EventState::Unreached;
        self.event = None;
        self.last_wqe = EventState::Unreached;
    }

    /// Changes the RNR timer of a connected queue pair.
    pub fn set_rnr_timer(&mut self, rnr_timer: RnrTimer) {
        self.config.rnr_timer = rnr_timer;
    }

    /// Changes how many READs the peer may have outstanding, as may be done in state SQD: at most as many as the table has
    /// entries for.
    pub fn set_max_dest_rd_atomic(&mut self, max_dest_rd_atomic: u8) {
        self.config.max_dest_rd_atomic = max_dest_rd_atomic;
    }

    /// Segments arrived before the queue pair was connected and had to be dropped: a sequence NAK makes the peer send
    /// them again now rather than after its timeout. Harmless if there were none.
    pub fn announce_ready(&mut self) {
        if self.state == State::Running {
            self.raise(Syndrome::SequenceNak);
        }
    }

    /// Stops (transition to ERR): receives that were taken are flushed.
    pub fn flush(&mut self) {
        match self.state {
            State::Idle | State::Failed => {}
            State::Running | State::Failing(_) => self.enter_failed(),
        }
    }

    /// Whether an acknowledgement is due.
    pub fn ack_due(&self) -> bool {
        self.ack != DueAck::None
    }

    /// Whether there is none, or one that tells of few requests only, with which all was well.
    pub fn ack_may_wait(&self) -> bool {
        match self.ack {
            DueAck::None => true,
            DueAck::Of(requests) => requests < FEW,
            DueAck::Urgent => false,
        }
    }

    /// The acknowledgement to send now. `response_psn` is what the requester of the same queue pair
    /// says (`Requester::take_response_ack`). Nothing if not connected.
    pub fn take_ack(&mut self, response_psn: Psn) -> Option<AckHeader> {
        self.ack = DueAck::None;
        if self.state == State::Idle {
            return None;
        }
        Some(AckHeader {
            dest_qpn: self.config.remote_qpn,
            src_qpn: self.config.local_qpn,
            psn: self.window.base(),
            response_psn,
            syndrome: self.naks.syndrome(),
            nak_serial: self.naks.serial(),
        })
    }

    /// A frame with an acknowledgement was lost: it is due again, as it will be then.
    pub fn on_lost_ack(&mut self) {
        if self.state != State::Idle {
            self.ack = DueAck::Urgent;
        }
    }

    /// Something the owner must act upon, if anything.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        if self.established.take() {
            return Some(QpEvent::CommunicationEstablished);
        }
        if let Some(event) = self.event.take() {
            return Some(event);
        }
        if self.state == State::Failed
            && self.last_wqe == EventState::Unreached
            && self.placing == 0
            && self.receives.is_empty()
        {
            self.last_wqe = EventState::Reported;
            return Some(QpEvent::LastWqeReached);
        }
        None
    }

    /// The next completion of a receive, in the order the receives were taken. Whatever changes the responder may bring one.
    pub fn poll_completion(&mut self) -> Option<ReceiveCompletion> {
        let may_flush = self.state == State::Failed && self.placing == 0;
        self.receives.poll(if may_flush {
            receive::Flushing::Allowed
        } else {
            receive::Flushing::Forbidden
        })
    }

    /// Counters of rare events.
    pub const fn counters(&self) -> ResponderCounters {
        self.counters
    }

    /// A NAK is in force from now on.
    fn raise(&mut self, syndrome: Syndrome) {
        self.naks.raise(syndrome);
        self.ack = DueAck::Urgent;
    }

    fn enter_failed(&mut self) {
        self.state = State::Failed;
        self.served.stop();
    }
}

/// A set for the window of responses.
fn response_set(window: u32) -> PsnSet {
    PsnSet::new(window)
}
