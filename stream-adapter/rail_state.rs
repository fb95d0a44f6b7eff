// SPDX-License-Identifier: GPL-2.0

//! What the threads of a rail share: where it stands, its endpoint of the rail protocol, and what wakes whom.

use kernel::fmt;
use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

use super::client::Answers;
use super::client::LeftOut;
use super::client::RailClient;
use super::counters::Counters;
use super::trace;
use crate::base::clock;
use crate::base::event::Event;
use crate::base::kernel_tables::KernelTables;
use crate::base::log_limit::Allowance;
use crate::base::log_limit::LogLimit;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::checksum::Seed;
use crate::transport::ids::Instant;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::endpoint::RailEndpoint;
use crate::transport::rail::endpoint::RailFault;
use crate::transport::rail::hello::HelloError;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::PROTOCOL_VERSION;
use crate::transport::rail::InFlight;

/// Frames that may be in flight on a rail. A power of two.
const WINDOW_FRAMES: usize = 1024;

/// Bytes that may be in flight on a rail: some milliseconds at full speed.
const WINDOW_BYTES: u32 = 8 << 20;

/// Where a rail stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No peer is attached to the stream.
    Detached,
    /// The stream's directory was removed; the rail must be configured anew.
    Removed,
    /// The stream cannot be opened for another reason.
    Failed(Error),
    /// The stream is open, the handshake has not ended yet.
    Greeting,
    /// Frames flow.
    Up,
    /// The stream is being closed, to be opened anew.
    Closing,
}

impl State {
    /// How `trace.h` numbers it.
    fn number(self) -> u32 {
        match self {
            Self::Detached => 0,
            Self::Removed => 1,
            Self::Failed(_) => 2,
            Self::Greeting => 3,
            Self::Up => 4,
            Self::Closing => 5,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Detached => f.write_str("detached"),
            State::Removed => f.write_str("removed"),
            State::Failed(error) => write!(f, "failed {error:?}"),
            State::Greeting => f.write_str("greeting"),
            State::Up => f.write_str("up"),
            State::Closing => f.write_str("closing"),
        }
    }
}

/// Why a stream is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The rail protocol says so.
    Rail(RailFault),
    /// A read, or what it takes to read and write, failed.
    Stream(Error),
    /// A write failed.
    Write(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Rail(RailFault::HandshakeStalled) => f.write_str("the handshake stalled"),
            Fault::Rail(RailFault::Dead) => f.write_str("the peer has fallen silent"),
            Fault::Rail(RailFault::PeerLeft) => f.write_str("the peer said goodbye"),
            Fault::Rail(RailFault::Reflected) => f.write_str("the stream is looped back"),
            Fault::Rail(RailFault::Violation(violation)) => {
                write!(f, "the peer broke the protocol: {violation:?}")
            }
            Fault::Rail(RailFault::Hello(HelloError::Version(theirs))) => write!(
                f,
                "the peer speaks protocol version {theirs}, this driver {PROTOCOL_VERSION}; \
                 install the same usb4_roce on both hosts"
            ),
            Fault::Rail(RailFault::Hello(error)) => {
                write!(f, "the peer's greeting makes no sense: {error:?}")
            }
            Fault::Stream(error) if *error == EPIPE => f.write_str("the peer closed the stream"),
            Fault::Stream(error) if *error == ENXIO => f.write_str("the cable was unplugged"),
            Fault::Write(error) if *error == ENXIO => {
                f.write_str("the peer closed the stream, or the cable was unplugged")
            }
            Fault::Stream(error) => write!(f, "the stream fails with {error:?}"),
            Fault::Write(error) => write!(f, "writing to the stream fails with {error:?}"),
        }
    }
}

/// Whether the client believes the rail to be up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    Up,
    Down,
}

/// Whether the transmitting thread waits for room in the window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Open,
    Full,
}

/// What the threads of a rail change together.
pub(super) struct Inner {
    pub(super) endpoint: RailEndpoint<KernelTables>,
    pub(super) window: Window,
    /// Until when the transmitting thread sleeps if nobody raises its event.
    pub(super) tx_sleeps_until: Instant,
    pub(super) state: State,
    fault: Option<Fault>,
    log_limit: LogLimit,
}

/// What the threads of a rail share.
///
/// # Locking
///
/// `inner` is held for short changes of state only: never while calling the client, while reading,
/// writing or copying. [`RailLink::frame_status`](super::client::RailLink::frame_status) takes it with spinlocks of the
/// client held, so nothing else is locked under it. No interrupt takes it.
#[pin_data]
pub(super) struct Shared<C: RailClient> {
    pub(super) id: RailId,
    pub(super) name: CString,
    pub(super) client: Arc<C>,
    pub(super) counters: Counters,
    /// Wakes the transmitting thread.
    pub(super) tx_event: Arc<Event>,
    /// Wakes the supervisor.
    #[pin]
    pub(super) fault_event: Event,
    /// Raised by the transmitting thread when it has said goodbye.
    #[pin]
    pub(super) tx_drained: Event,
    /// What the client was told last. Held from when the endpoint's session begins or ends until the client has been told of it,
    /// so that it hears of each in turn, whichever thread finds out.
    #[pin]
    pub(super) announced: Mutex<Announced>,
    #[pin]
    pub(super) inner: SpinLock<Inner>,
}

impl<C: RailClient> Shared<C> {
    /// A rail whose stream was not opened yet.
    pub(super) fn new(
        id: RailId,
        name: CString,
        identity: Identity,
        client: Arc<C>,
    ) -> Result<impl PinInit<Self>> {
        let table = KVVec::from_elem(Default::default(), WINDOW_FRAMES, GFP_KERNEL)?;
        let endpoint = RailEndpoint::new(identity, table, WINDOW_BYTES).map_err(|_| EINVAL)?;
        let tx_event = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        Ok(pin_init!(Self {
            id,
            name,
            client,
            counters: Counters::new(),
            tx_event,
            fault_event <- Event::new(),
            tx_drained <- Event::new(),
            announced <- new_mutex!(Announced::Down),
            inner <- new_spinlock!(Inner {
                endpoint,
                window: Window::Open,
                tx_sleeps_until: Instant(0),
                state: State::Detached,
                fault: None,
                log_limit: LogLimit::new(),
            }),
        }))
    }

    /// The stream cannot go on: the supervisor is to close it. Only the first fault counts.
    pub(super) fn fail(&self, fault: Fault) {
        let mut inner = self.inner.lock();
        if inner.fault.is_none() {
            inner.fault = Some(fault);
        }
        drop(inner);
        self.fault_event.raise();
    }

    /// The fault that was reported, if any; checks the clock, too.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        let mut inner = self.inner.lock();
        if let Some(fault) = inner.fault.take() {
            return Some(fault);
        }
        let checked = inner.endpoint.check(clock::now());
        checked.err().map(Fault::Rail)
    }

    /// Whether the peer answers.
    pub(super) fn answers(&self) -> Answers {
        self.inner.lock().endpoint.answers(clock::now())
    }

    /// Begins a session on a stream that was just opened.
    pub(super) fn begin_session(&self, session_id: u64) {
        // What was raised for the last session is of no interest any more.
        self.tx_event.clear();
        self.tx_drained.clear();
        let mut inner = self.inner.lock();
        inner.fault = None;
        inner.window = Window::Open;
        inner.state = State::Greeting;
        inner.endpoint.open(session_id, clock::now());
        drop(inner);
        trace::rail_state(self.id, &self.name, State::Greeting.number());
        self.counters.opens.increment();
    }

    /// Notes where the rail stands.
    pub(super) fn set_state(&self, state: State) {
        self.inner.lock().state = state;
        trace::rail_state(self.id, &self.name, state.number());
    }

    /// Notes that the handshake is done. Says who the peer is and by what the session's checksums are made; nothing if the stream
    /// is being closed already.
    pub(super) fn come_up(&self) -> Option<(Identity, Seed)> {
        let mut inner = self.inner.lock();
        if inner.state == State::Closing {
            return None;
        }
        let up = (inner.endpoint.peer().copied()?, inner.endpoint.seed()?);
        inner.state = State::Up;
        drop(inner);
        trace::rail_state(self.id, &self.name, State::Up.number());
        self.counters.ups.increment();
        Some(up)
    }

    /// Tells the client that the rail is down, unless it knows.
    pub(super) fn announce_down(&self, announced: &mut Announced) {
        if core::mem::replace(announced, Announced::Down) == Announced::Down {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.state == State::Up {
            inner.state = State::Greeting;
            trace::rail_state(self.id, &self.name, State::Greeting.number());
        }
        drop(inner);
        self.client.rail_down(self.id);
    }

    /// Hands what was lost back to its owners.
    pub(super) fn return_lost(&self) {
        loop {
            let mut inner = self.inner.lock();
            let Some((seq, item)) = inner.endpoint.next_lost() else {
                return;
            };
            drop(inner);
            self.lose(seq, item);
        }
    }

    /// Frame `seq` will not arrive.
    pub(super) fn lose(&self, seq: RailSeq, item: InFlight) {
        self.counters.tx_lost.increment();
        trace::frame_lost(self.id, &self.name, seq);
        match item {
            // The network expects datagrams to get lost.
            InFlight::Datagram => {}
            InFlight::Request { .. }
            | InFlight::Response { .. }
            | InFlight::Ack { .. }
            | InFlight::Unreliable { .. }
            | InFlight::UnreliableDatagram { .. } => {
                self.client.lost(self.id, seq, item);
            }
        }
    }

    /// Wakes the transmitting thread if the endpoint has become due for something before it would look.
    pub(super) fn wake_tx_if_due(&self) {
        let mut inner = self.inner.lock();
        let has_room = inner.window == Window::Full && inner.endpoint.can_send(MAX_PAYLOAD as u32);
        if has_room {
            inner.window = Window::Open;
        }
        let due = inner
            .endpoint
            .deadline()
            .is_some_and(|deadline| deadline < inner.tx_sleeps_until);
        drop(inner);
        if has_room || due {
            self.tx_event.raise();
        }
    }

    /// Asks for a line in the log about what the peer did.
    pub(super) fn take_log_line(&self) -> Option<LeftOut> {
        let allowance = self.inner.lock().log_limit.ask(clock::now());
        match allowance {
            Allowance::Log { left_out } => Some(LeftOut(left_out)),
            Allowance::LeaveOut => None,
        }
    }

    /// The name for log lines.
    pub(super) fn name(&self) -> &str {
        self.name.to_str().unwrap_or("?")
    }
}
