// SPDX-License-Identifier: GPL-2.0

//! The thread that keeps a rail's stream open: opens it, lets a reader and a writer work on it, closes it
//! when it fails, and begins again.

use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;

use super::client::Answers;
use super::client::RailClient;
use super::client::RailLink;
use super::pen::Pen;
use super::rail::Fault;
use super::rail::Shared;
use super::rail::State;
use super::reader;
use super::stream_file::StreamFile;
use super::writer;
use crate::base::event::Wake;
use crate::base::kthread::should_stop;
use crate::base::kthread::Kthread;

/// How often the clock of an open rail is checked.
const CHECK_INTERVAL_MS: Msecs = 250;

/// How long the writer may take for its goodbye before it is stopped.
const FAREWELL_MS: Msecs = 100;

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

    /// It went well.
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

/// What the log has been told of a rail that does not come up: each thing once, and what there was no room for, later.
#[derive(Default)]
struct Told {
    fault: Option<Fault>,
    failure: Option<State>,
}

/// How a session went.
enum SessionEnd {
    /// The rail was up at some time.
    WasUp,
    /// It never came up.
    NeverUp,
}

/// The thread's body.
pub(super) fn run<C: RailClient>(shared: Arc<Shared<C>>) {
    let mut backoff = Backoff::new();
    let mut told = Told::default();
    while !should_stop() {
        let end = {
            let Some(_passage) = shared.gate.pass() else {
                shared.set_state(State::Detached);
                pause(&shared, PAUSE_DETACHED_MS);
                continue;
            };
            shared.source.open().and_then(|file| {
                if file.is_cut_off() {
                    note_failure(&shared, ENXIO, &mut told);
                    outlast(&shared, file);
                    return Ok(SessionEnd::NeverUp);
                }
                session(&shared, file, &mut told)
            })
        };
        match end {
            Ok(SessionEnd::WasUp) => backoff.reset(),
            Ok(SessionEnd::NeverUp) => {}
            Err(error) => {
                note_failure(&shared, error, &mut told);
                backoff.reset();
                pause(&shared, PAUSE_DETACHED_MS);
                continue;
            }
        }
        pause(&shared, backoff.take());
    }
}

/// Notes that the stream could not be opened, and says so once.
fn note_failure<C: RailClient>(shared: &Shared<C>, error: Error, told: &mut Told) {
    let state = if shared.source.is_deleted() {
        State::Removed
    } else if error == ENXIO {
        State::Detached
    } else {
        State::Failed(error)
    };
    shared.set_state(state);
    if told.failure == Some(state) {
        return;
    }
    let Some(left_out) = shared.take_log_line() else {
        return;
    };
    told.failure = Some(state);
    match state {
        State::Removed => pr_warn!(
            "rail {}: its stream was removed; write a new one to its `stream` attribute{left_out}\n",
            shared.name()
        ),
        State::Failed(error) if error == EINVAL => pr_warn!(
            "rail {}: the stream has no HopIDs yet: set in_hopid and out_hopid on one of the hosts; trying \
             on{left_out}\n",
            shared.name()
        ),
        State::Failed(error) if error == ENOMEM => pr_warn!(
            "rail {}: the stream gets no ring or no path; trying on, unload thunderbolt_net or replug the cable if \
             that does not help{left_out}\n",
            shared.name()
        ),
        State::Failed(error) => pr_warn!(
            "rail {}: opening the stream fails with {error:?}; trying on, replug the cable if that does not \
             help{left_out}\n",
            shared.name()
        ),
        State::Detached | State::Greeting | State::Up | State::Closing => {
            pr_info!("rail {}: waiting for a cable{left_out}\n", shared.name());
        }
    }
}

/// Sleeps, but not when the rail is to be stopped.
fn pause<C: RailClient>(shared: &Shared<C>, ms: Msecs) {
    // Faults of the session that has just ended may still wake us; the pause may be short then.
    let _ = shared.life.wait(msecs_to_jiffies(ms));
}

/// Keeps a stream open that has lost its peer while it was being opened, until a peer is there again.
///
/// Linux 7.2 and 7.3 may have set up its paths when those to the lost peer had been taken down already
/// (`tb_approve_xdomain_paths()` waits for the end of `tb_handle_hotplug()`), and take down no paths to a peer that is
/// lost (`tb_disconnect_xdomain_paths()`). Closed now, the stream would leave them behind, and could not be opened
/// again before the cable is replugged once more: `ENOMEM`. Closed with a peer at the other end, it takes them down.
fn outlast<C: RailClient>(shared: &Shared<C>, file: StreamFile) {
    while file.is_cut_off()
        && !should_stop()
        && !shared.gate.is_shut()
        && !shared.source.is_deleted()
    {
        pause(shared, CHECK_INTERVAL_MS);
    }
}

/// Works on an open stream until it fails or the rail is stopped, and closes it.
fn session<C: RailClient>(
    shared: &Arc<Shared<C>>,
    file: StreamFile,
    told: &mut Told,
) -> Result<SessionEnd> {
    let file = Arc::new(file, GFP_KERNEL)?;
    let ups = shared.counters.ups.get();
    told.failure = None;
    // SAFETY: Random numbers may be drawn anywhere.
    shared.begin(unsafe { bindings::get_random_u64() });

    let threads = start_threads(shared, &file);
    let fault = match threads {
        Ok(_) => watch(shared),
        Err(error) => Some(Fault::Stream(error)),
    };

    let was_up = shared.counters.ups.get() != ups;
    if let Some(fault) = fault {
        if was_up {
            told.fault = None;
        }
        // A peer that is not there, time and again, is told once.
        if told.fault != Some(fault) {
            if let Some(left_out) = shared.take_log_line() {
                pr_info!("rail {}: down: {fault}{left_out}\n", shared.name());
                told.fault = Some(fault);
            }
        }
    }

    if !matches!(fault, Some(Fault::Stream(_) | Fault::Write(_))) {
        say_goodbye(shared);
    }
    shared.set_state(State::Closing);
    // All must be out of the file before it is closed.
    drop(threads);
    let pen = shared.pen.lock().take();
    drop(pen);
    shared.inner.lock().endpoint.close();
    shared.announce_down();
    shared.hand_back();
    drop(file);

    Ok(if was_up {
        SessionEnd::WasUp
    } else {
        SessionEnd::NeverUp
    })
}

fn start_threads<C: RailClient>(
    shared: &Arc<Shared<C>>,
    file: &Arc<StreamFile>,
) -> Result<(Kthread, Kthread)> {
    let index = shared.id.index();
    let mut reader = reader::Reader::new(shared.clone(), file.clone())?;
    let writer = writer::Writer::new(shared.clone());
    let pen = Pen::new(file.clone())?;
    *shared.pen.lock() = Some(pen);
    let name = CString::try_from_fmt(fmt!("usb4_roce/{index}r"))?;
    let reader = Kthread::spawn(&name, move || reader.run())?;
    let name = CString::try_from_fmt(fmt!("usb4_roce/{index}w"))?;
    let writer = Kthread::spawn(&name, move || writer.run())?;
    Ok((reader, writer))
}

/// Waits for a fault; nothing if the rail is to be stopped, or may not have its stream open any more.
fn watch<C: RailClient>(shared: &Shared<C>) -> Option<Fault> {
    let mut before = Answers::Come;
    loop {
        if should_stop() || shared.gate.is_shut() {
            return None;
        }
        if let Some(fault) = shared.take_fault() {
            return Some(fault);
        }
        let answers = shared.answers();
        if answers == Answers::Missing || before == Answers::Missing {
            shared.client.note_answers(shared.id, answers);
        }
        before = answers;
        let _: Wake = shared.life.wait(msecs_to_jiffies(CHECK_INTERVAL_MS));
    }
}

/// Lets the writer take leave of the peer, unless it is stuck.
fn say_goodbye<C: RailClient>(shared: &Shared<C>) {
    shared.set_state(State::Closing);
    shared.kick.raise();
    shared
        .farewell
        .wait_uninterruptible(msecs_to_jiffies(FAREWELL_MS));
}
