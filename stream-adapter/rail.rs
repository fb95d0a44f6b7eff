// SPDX-License-Identifier: GPL-2.0

//! A rail: one stream, kept open as long as there is a peer, and what its threads share.

use kernel::fmt;
use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

use super::cable::Service;
use super::client::Answers;
use super::client::LeftOut;
use super::client::RailClient;
use super::client::RailLink;
use super::client::Rate;
use super::counters::Counters;
use super::event::Event;
use super::gate::Gate;
use super::kthread::Kthread;
use super::pen::Pen;
use super::pen::Progress;
use super::stream_source::StreamSource;
use super::supervisor;
use crate::clock;
use crate::log_limit::Allowance;
use crate::log_limit::LogLimit;
use crate::page_vec::MAX_PAYLOAD;
use crate::tables::KernelTables;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::rail::endpoint::HelloEffect;
use crate::transport::rail::endpoint::RailEndpoint;
use crate::transport::rail::endpoint::RailFault;
use crate::transport::rail::hello::HelloError;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::PROTOCOL_VERSION;
use crate::transport::rail::tx::FrameStatus;
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
enum Announced {
    Up,
    Down,
}

/// Whether the writer waits for room in the window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Open,
    Full,
}

/// What the threads of a rail change together.
pub(super) struct Inner {
    pub(super) endpoint: RailEndpoint<KernelTables>,
    pub(super) window: Window,
    /// Until when the writer sleeps if nobody raises its event.
    pub(super) writer_sleeps_until: Instant,
    pub(super) state: State,
    announced: Announced,
    fault: Option<Fault>,
    log_limit: LogLimit,
}

/// What the threads of a rail share.
///
/// # Locking
///
/// `pen` is held while writing, and while calling the client for something to write; by the writer also while
/// it waits for room in the stream. It is taken with no other lock held, by others than the writer and the
/// supervisor only if it is free.
///
/// `inner` is held for short changes of state only: never while calling the client, while reading,
/// writing or copying. All users are threads that may sleep.
#[pin_data]
pub(super) struct Shared<C: RailClient> {
    pub(super) id: RailId,
    pub(super) name: CString,
    pub(super) client: Arc<C>,
    pub(super) source: Arc<dyn StreamSource>,
    service: Option<Service>,
    /// In Mb/s, as of when the rail last came up.
    rate: Atomic<u32>,
    pub(super) gate: Arc<Gate>,
    pub(super) counters: Counters,
    /// Wakes the writer.
    pub(super) kick: Arc<Event>,
    /// Wakes the supervisor.
    #[pin]
    pub(super) life: Event,
    /// Raised by the writer when it has said goodbye.
    #[pin]
    pub(super) farewell: Event,
    /// There is one while the stream is open.
    #[pin]
    pub(super) pen: Mutex<Option<Pen>>,
    #[pin]
    pub(super) inner: SpinLock<Inner>,
}

impl<C: RailClient> Shared<C> {
    /// The stream cannot go on: the supervisor is to close it. Only the first fault counts.
    pub(super) fn fail(&self, fault: Fault) {
        let mut inner = self.inner.lock();
        if inner.fault.is_none() {
            inner.fault = Some(fault);
        }
        drop(inner);
        self.life.raise();
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
    pub(super) fn begin(&self, session_id: u64) {
        // What was raised for the last session is of no interest any more.
        self.kick.clear();
        self.farewell.clear();
        let mut inner = self.inner.lock();
        inner.fault = None;
        inner.window = Window::Open;
        inner.state = State::Greeting;
        inner.endpoint.open(session_id, clock::now());
        drop(inner);
        self.counters.opens.increment();
    }

    /// Notes where the rail stands.
    pub(super) fn set_state(&self, state: State) {
        self.inner.lock().state = state;
    }

    /// Tells the client what the handshake brought.
    pub(super) fn announce(this: &Arc<Self>, effect: HelloEffect) {
        match effect {
            HelloEffect::Nothing => {}
            HelloEffect::Ignored => this.counters.rx_discarded.increment(),
            HelloEffect::Up => {
                this.announce_down();
                let mut inner = this.inner.lock();
                // The stream is being closed already.
                if inner.state == State::Closing {
                    return;
                }
                let (Some(peer), Some(seed)) =
                    (inner.endpoint.peer().copied(), inner.endpoint.seed())
                else {
                    return;
                };
                inner.announced = Announced::Up;
                inner.state = State::Up;
                drop(inner);
                this.counters.ups.increment();
                let known = this.service.as_ref().and_then(Service::rate);
                let rate = known.unwrap_or(Rate::LEAST);
                this.rate.store(rate.0, Relaxed);
                if let Some(left_out) = this.take_log_line() {
                    pr_info!(
                        "rail {}: up, peer {} ({:016x}), {}{} Mb/s, checksums are {}{left_out}\n",
                        this.name(),
                        peer.name(),
                        peer.node_guid.0,
                        if known.is_some() { "" } else { "at least " },
                        rate.0,
                        seed.algorithm().name()
                    );
                }
                let link: Arc<dyn RailLink> = this.clone();
                let router = this.service.as_ref().and_then(Service::router);
                this.client.rail_up(this.id, &peer, router, &link);
            }
            HelloEffect::Down => this.announce_down(),
        }
    }

    /// Sees whether the peer has left the session without a word. For the writer, without whose hello the rail does
    /// not come up again: so it cannot come up while its end is still being told.
    pub(super) fn judge(this: &Arc<Self>) {
        let effect = this.inner.lock().endpoint.judge(clock::now());
        if effect != HelloEffect::Nothing {
            Self::announce(this, effect);
            this.hand_back();
        }
    }

    /// Tells the client that the rail is down, unless it knows.
    pub(super) fn announce_down(&self) {
        let mut inner = self.inner.lock();
        let was = core::mem::replace(&mut inner.announced, Announced::Down);
        if was == Announced::Up && inner.state == State::Up {
            inner.state = State::Greeting;
        }
        drop(inner);
        if was == Announced::Up {
            self.client.rail_down(self.id);
        }
    }

    /// Hands what was lost back to its owners.
    pub(super) fn hand_back(&self) {
        loop {
            let mut inner = self.inner.lock();
            let Some((seq, item)) = inner.endpoint.next_lost() else {
                return;
            };
            drop(inner);
            self.give_up(seq, item);
        }
    }

    /// Frame `seq` will not arrive.
    pub(super) fn give_up(&self, seq: RailSeq, item: InFlight) {
        self.counters.tx_lost.increment();
        match item {
            // The network expects datagrams to get lost.
            InFlight::Datagram => {}
            InFlight::Request { .. } | InFlight::Response { .. } | InFlight::Ack { .. } => {
                self.client.lost(self.id, seq, item);
            }
        }
    }

    /// Wakes the writer if the endpoint has become due for something before the writer would look.
    pub(super) fn kick_if_due(&self) {
        let mut inner = self.inner.lock();
        let has_room = inner.window == Window::Full && inner.endpoint.can_send(MAX_PAYLOAD as u32);
        if has_room {
            inner.window = Window::Open;
        }
        let due = inner
            .endpoint
            .deadline()
            .is_some_and(|deadline| deadline < inner.writer_sleeps_until);
        drop(inner);
        if has_room || due {
            self.kick.raise();
        }
    }

    /// The name for log lines.
    pub(super) fn name(&self) -> &str {
        self.name.to_str().unwrap_or("?")
    }
}

impl<C: RailClient> RailLink for Shared<C> {
    fn kick(&self) -> &Arc<Event> {
        &self.kick
    }

    fn push(&self) {
        let left = match self.pen.try_lock() {
            Some(mut pen) => match &mut *pen {
                Some(pen) => pen.jot(self),
                None => return,
            },
            // Whoever writes may just have found nothing more to write.
            None => Ok(Progress::Some),
        };
        match left {
            // What was sent wants an acknowledgement, and the writer has to see that it comes.
            Ok(Progress::None) => self.kick_if_due(),
            Ok(Progress::Some) => self.kick.raise(),
            Err(error) => self.fail(Fault::Write(error)),
        }
    }

    fn frame_status(&self, seq: RailSeq) -> FrameStatus {
        self.inner.lock().endpoint.frame_status(seq)
    }

    fn carries(&self, qpn: Qpn) -> bool {
        // A frame that its QP has given away has no number before the pen is put down.
        drop(self.pen.lock());
        self.inner.lock().endpoint.carries(qpn)
    }

    fn rate(&self) -> Rate {
        Rate(self.rate.load(Relaxed))
    }

    fn name(&self) -> &str {
        self.name()
    }

    fn take_log_line(&self) -> Option<LeftOut> {
        let allowance = self.inner.lock().log_limit.ask(clock::now());
        match allowance {
            Allowance::Tell { left_out } => Some(LeftOut(left_out)),
            Allowance::LeaveOut => None,
        }
    }
}

/// A configured rail. Dropping it says goodbye to the peer, stops its threads and closes the stream; that
/// takes about a second, even if the peer is silent.
pub struct Rail<C: RailClient> {
    // Declared first, so that the threads are stopped before the rest goes.
    _supervisor: Kthread,
    shared: Arc<Shared<C>>,
}

impl<C: RailClient> Rail<C> {
    /// Starts a rail over the stream of `source`.
    ///
    /// The stream is opened in the background, and again whenever it fails. `name` is for log lines,
    /// `identity` is what the peer is told about us, `service` tells which cable it is. The stream is only open
    /// while `gate` is.
    pub fn start(
        id: RailId,
        name: CString,
        source: impl StreamSource + 'static,
        service: Option<Service>,
        identity: Identity,
        gate: Arc<Gate>,
        client: Arc<C>,
    ) -> Result<Self> {
        let table = KVVec::from_elem(Default::default(), WINDOW_FRAMES, GFP_KERNEL)?;
        let endpoint = RailEndpoint::new(identity, table, WINDOW_BYTES).map_err(|_| EINVAL)?;
        let kick = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let source: Arc<dyn StreamSource> = Arc::new(source, GFP_KERNEL)?;
        let thread_name = CString::try_from_fmt(fmt!("usb4_roce/{}", id.index()))?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                id,
                name,
                client,
                source,
                service,
                rate: Atomic::new(Rate::LEAST.0),
                gate,
                counters: Counters::new(),
                kick,
                life <- Event::new(),
                farewell <- Event::new(),
                pen <- new_mutex!(None),
                inner <- new_spinlock!(Inner {
                    endpoint,
                    window: Window::Open,
                    writer_sleeps_until: Instant(0),
                    state: State::Detached,
                    announced: Announced::Down,
                    fault: None,
                    log_limit: LogLimit::new(),
                }),
            }),
            GFP_KERNEL,
        )?;
        let for_thread = shared.clone();
        let supervisor = Kthread::spawn(&thread_name, move || supervisor::run(for_thread))?;
        Ok(Self {
            _supervisor: supervisor,
            shared,
        })
    }

    /// Where the rail stands.
    pub fn state(&self) -> State {
        self.shared.inner.lock().state
    }

    /// Who is at the other end, once known in this session.
    pub fn peer(&self) -> Option<Identity> {
        self.shared.inner.lock().endpoint.peer().copied()
    }

    /// Its counters.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Wakes the writing side to look for work. May be called from any context.
    pub fn kick(&self) {
        self.shared.kick.raise();
    }
}
