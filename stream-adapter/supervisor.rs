// SPDX-License-Identifier: GPL-2.0

//! The thread that keeps a rail's stream open: opens it, lets two threads receive and transmit over it, closes it when
//! it fails, and begins again.

use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;

use super::client::Answers;
use super::client::RailClient;
use super::frame_writer::FrameWriter;
use super::rail_link::Link;
use super::rail_state::Fault;
use super::rail_state::State;
use super::rx_thread::RxThread;
use super::stream_file::StreamFile;
use super::stream_source::StreamSource;
use super::tx_thread::TxThread;
use crate::base::cpu_latency::CpuLatency;
use crate::base::event::Wake;
use crate::base::kthread::should_stop;
use crate::base::kthread::Kthread;
use crate::stream_adapter::quiescer::Quiescer;

/// How often the clock of an open rail is checked.
const CHECK_INTERVAL_MS: Msecs = 250;

/// Frames between two such checks, either way, that are traffic: each may be waited for by a program. Fewer are what an interface sends that
/// nobody uses.
const TRAFFIC_FRAMES: u64 = 16;

/// How long the transmitting thread may take for its goodbye before it is stopped.
const GOODBYE_MS: Msecs = 100;

/// The first pause before the stream is opened again, when there is hope that it works at once.
const PAUSE_SHORT_MS: Msecs = 100;

/// The longest pause; pauses double up to it. It is short, so that two hosts whose handshake has failed
/// open their ends at about the same time, before either of them speaks.
const PAUSE_LONG_MS: Msecs = 400;

/// The pause while the stream cannot be opened at all, mostly for want of a cable.
const PAUSE_DETACHED_MS: Msecs = 1_000;

/// Random extra of a pause, so that two hosts do not open and close in lockstep.
const PAUSE_JITTER_MS: u64 = 127;

/// A pause that grows with every failure in a row.
struct Backoff {
    next_ms: Msecs,
}

impl Backoff {
    fn new() -> Self {
        Self {
            next_ms: PAUSE_SHORT_MS,
        }
    }

    /// Starts again with the shortest pause: the last attempt went well.
    fn reset(&mut self) {
        self.next_ms = PAUSE_SHORT_MS;
    }

    /// The time to wait now.
    fn take(&mut self) -> Msecs {
        let pause = self.next_ms;
        self.next_ms = (pause * 2).min(PAUSE_LONG_MS);
        // SAFETY: Random numbers may be drawn anywhere.
        pause + (unsafe { bindings::get_random_u64() } & PAUSE_JITTER_MS) as Msecs
    }
}

/// Faults already logged, of a rail that does not come up: each is logged once, or later if the log limit was reached.
#[derive(Default)]
struct Logged {
    fault: Option<Fault>,
    failure: Option<State>,
}

/// How a session went.
enum SessionEnd {
    /// The rail was up at some time.
    WasUp,
    /// The rail never came up.
    NeverUp,
    /// There was none: no stream may be open now.
    NotAllowed,
}

/// The threads of an open stream. Dropping it stops them.
struct Threads {
    _rx: Kthread,
    _tx: Kthread,
}

/// The thread's own state.
pub(super) struct Supervisor<C: RailClient> {
    link: Arc<Link<C>>,
    source: Arc<dyn StreamSource>,
    quiescer: Arc<Quiescer>,
    logged: Logged,
    /// What the rail's traffic wants of idle processors.
    cpu_latency: CpuLatency,
}

impl<C: RailClient> Supervisor<C> {
    /// Of a rail whose stream is that of `source`, and open only while `quiescer` permits it.
    pub(super) fn new(
        link: Arc<Link<C>>,
        source: Arc<dyn StreamSource>,
        quiescer: Arc<Quiescer>,
    ) -> Result<Self> {
        Ok(Self {
            link,
            source,
            quiescer,
            logged: Logged::default(),
            cpu_latency: CpuLatency::new()?,
        })
    }

    /// The thread's body.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::new();
        while !should_stop() {
            let pause = match self.open_once() {
                Ok(SessionEnd::WasUp) => {
                    backoff.reset();
                    backoff.take()
                }
                Ok(SessionEnd::NeverUp) => backoff.take(),
                Ok(SessionEnd::NotAllowed) => {
                    self.link.set_state(State::Detached);
                    PAUSE_DETACHED_MS
                }
                Err(error) => {
                    self.note_failure(error);
                    backoff.reset();
                    PAUSE_DETACHED_MS
                }
            };
            self.pause(pause);
        }
    }

    /// Opens the stream, and works on it until it is closed. Fails as opening does.
    fn open_once(&mut self) -> Result<SessionEnd> {
        let quiescer = self.quiescer.clone();
        let Some(_permit) = quiescer.permit() else {
            return Ok(SessionEnd::NotAllowed);
        };
        let file = self.source.open()?;
        if file.is_cut_off() {
            self.note_failure(ENXIO);
            self.outlast(file);
            return Ok(SessionEnd::NeverUp);
        }
        self.session(file)
    }

    /// Notes that the stream could not be opened, and says so once.
    fn note_failure(&mut self, error: Error) {
        let link = &self.link;
        let state = if self.source.is_deleted() {
            State::Removed
        } else if error == ENXIO {
            State::Detached
        } else {
            State::Failed(error)
        };
        link.set_state(state);
        if self.logged.failure == Some(state) {
            return;
        }
        let Some(left_out) = link.take_log_line() else {
            return;
        };
        self.logged.failure = Some(state);
        match state {
            State::Removed => pr_warn!(
                "rail {}: its stream was removed; write a new one to its `stream` attribute{left_out}\n",
                link.name()
            ),
            State::Failed(error) if error == EINVAL => pr_warn!(
                "rail {}: the stream has no HopIDs yet: set in_hopid and out_hopid on one of the hosts; trying \
                 on{left_out}\n",
                link.name()
            ),
            State::Failed(error) if error == ENOMEM => pr_warn!(
                "rail {}: the stream gets no ring or no path; trying on, unload thunderbolt_net or replug the cable \
                 if that does not help{left_out}\n",
                link.name()
            ),
            State::Failed(error) => pr_warn!(
                "rail {}: opening the stream fails with {error:?}; trying on, replug the cable if that does not \
                 help{left_out}\n",
                link.name()
            ),
            State::Detached | State::Greeting | State::Up | State::Closing => {
                pr_info!("rail {}: waiting for a cable{left_out}\n", link.name());
            }
        }
    }

    /// Sleeps, but not when the rail is to be stopped.
    fn pause(&self, ms: Msecs) {
        // Faults of the session that has just ended may still wake us; the pause may be short then.
        let _ = self.link.fault_event.wait(msecs_to_jiffies(ms));
    }

    /// Keeps a stream open that has lost its peer while it was being opened, until a peer is there again.
    ///
    /// Linux 7.2 and 7.3 may have set up its paths when those to the lost peer had been taken down already
    /// (`tb_approve_xdomain_paths()` waits for the end of `tb_handle_hotplug()`), and take down no paths to a peer that is
    /// lost (`tb_disconnect_xdomain_paths()`). Closed now, the stream would leave them behind, and could not be opened
    /// again before the cable is replugged once more: `ENOMEM`. Closed with a peer at the other end, it takes them down.
    fn outlast(&self, file: StreamFile) {
        while file.is_cut_off()
            && !should_stop()
            && !self.quiescer.is_quiesced()
            && !self.source.is_deleted()
        {
            self.pause(CHECK_INTERVAL_MS);
        }
    }

    /// Works on an open stream until it fails or the rail is stopped, and closes it.
    fn session(&mut self, file: StreamFile) -> Result<SessionEnd> {
        let link = self.link.clone();
        let file = Arc::new(file, GFP_KERNEL)?;
        let ups = link.counters.ups.get();
        self.logged.failure = None;
        // SAFETY: Random numbers may be drawn anywhere.
        link.begin_session(unsafe { bindings::get_random_u64() });

        let threads = self.start_threads(&file);
        let fault = match threads {
            Ok(_) => self.watch(),
            Err(error) => Some(Fault::Stream(error)),
        };
        self.cpu_latency.withdraw();

        let was_up = link.counters.ups.get() != ups;
        if was_up {
            self.logged.fault = None;
        }
        if let Some(fault) = fault {
            self.log_fault(fault);
        }

        if !matches!(fault, Some(Fault::Stream(_) | Fault::Write(_))) {
            self.say_goodbye();
        }
        link.set_state(State::Closing);
        // All must be out of the file before it is closed.
        drop(threads);
        let writer = link.writer.lock().take();
        drop(writer);
        link.inner.lock().endpoint.close();
        link.announce_down(&mut link.announced.lock());
        link.return_lost();
        drop(file);

        Ok(if was_up {
            SessionEnd::WasUp
        } else {
            SessionEnd::NeverUp
        })
    }

    /// Logs why the stream is closed, once for a peer that is not there, time and again.
    fn log_fault(&mut self, fault: Fault) {
        if self.logged.fault == Some(fault) {
            return;
        }
        if let Some(left_out) = self.link.take_log_line() {
            pr_info!("rail {}: down: {fault}{left_out}\n", self.link.name());
            self.logged.fault = Some(fault);
        }
    }

    fn start_threads(&self, file: &Arc<StreamFile>) -> Result<Threads> {
        let index = self.link.id.index();
        let mut rx = RxThread::new(self.link.clone(), file.clone())?;
        let tx = TxThread::new(self.link.clone());
        let writer = FrameWriter::new(file.clone())?;
        *self.link.writer.lock() = Some(writer);
        let name = CString::try_from_fmt(fmt!("usb4_roce/{index}rx"))?;
        let rx = Kthread::spawn(&name, move || rx.run())?;
        let name = CString::try_from_fmt(fmt!("usb4_roce/{index}tx"))?;
        let tx = Kthread::spawn(&name, move || tx.run())?;
        Ok(Threads { _rx: rx, _tx: tx })
    }

    /// Waits for a fault; nothing if the rail is to be stopped, or may not have its stream open any more.
    fn watch(&mut self) -> Option<Fault> {
        let link = &self.link;
        let mut frames = link.counters.frames();
        let mut before = Answers::Come;
        loop {
            if should_stop() || self.quiescer.is_quiesced() {
                return None;
            }
            if let Some(fault) = link.take_fault() {
                return Some(fault);
            }
            let answers = link.answers();
            if answers == Answers::Missing || before == Answers::Missing {
                link.client.note_answers(link.id, answers);
            }
            before = answers;
            let so_far = link.counters.frames();
            if so_far - frames >= TRAFFIC_FRAMES {
                self.cpu_latency.request();
            } else {
                self.cpu_latency.withdraw();
            }
            frames = so_far;
            let _: Wake = link.fault_event.wait(msecs_to_jiffies(CHECK_INTERVAL_MS));
        }
    }

    /// Has the transmitting thread send Goodbye, unless it is stuck.
    fn say_goodbye(&self) {
        self.link.set_state(State::Closing);
        self.link.tx_event.raise();
        self.link
            .tx_drained
            .wait_uninterruptible(msecs_to_jiffies(GOODBYE_MS));
    }
}
