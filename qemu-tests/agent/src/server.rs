// SPDX-License-Identifier: GPL-2.0

//! Serves the agent ports: a thread for each, one session at a time on each.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::process;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol;
use lab_agent::protocol::Channel;
use lab_agent::protocol::Command;
use lab_agent::protocol::Event;
use lab_agent::protocol::Machine;
use lab_agent::protocol::Received;
use lab_agent::protocol::Receiver;
use lab_agent::protocol::Reply;
use lab_agent::protocol::Request;
use lab_agent::protocol::Session;
use lab_agent::protocol::CHUNK;
use lab_agent::protocol::PORTS;
use nix::sys::signal::kill;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::boot;
use crate::job::Jobs;
use crate::machine;
use crate::process::Group;
use crate::process::Process;
use crate::process::Sink;
use crate::process::Terminal;
use crate::systemd;

/// How often a port without a lab at its other end is looked at. The port's driver returns from
/// read(2) at once in that state and its poll(2) reports HUP, so there is nothing to sleep on.
const PORT_POLL: Duration = Duration::from_millis(100);

/// After so many looks in a row at a port without a lab, its session is over. One or two mean nothing:
/// the end of the last connection may be reported after the next one has begun.
const ABSENT: u32 = 10;

/// Time between SIGTERM and SIGKILL at power-off.
const TERMINATE: Duration = Duration::from_millis(300);

/// The sending half of a port.
struct Outbox {
    port: File,
    session: Option<Session>,
}

/// A port, shared by the threads which answer on it.
#[derive(Clone)]
struct Port(Arc<Mutex<Outbox>>);

impl Port {
    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, session: Option<Session>) {
        self.lock().session = session;
    }

    /// Sends `event`, or drops it when `session` is over.
    fn reply(&self, session: Session, event: Event) {
        let mut outbox = self.lock();
        if outbox.session != Some(session) {
            return;
        }
        if let Err(error) = protocol::send(&mut outbox.port, &Reply { session, event }) {
            eprintln!("lab-agent: {error:#}");
        }
    }

    fn reply_output(&self, session: Session, channel: Channel, data: &[u8]) {
        for data in data.chunks(CHUNK) {
            let data = data.to_vec();
            self.reply(session, Event::Output { channel, data });
        }
    }
}

/// What a session's running command can be given from outside.
struct Foreground {
    group: Group,
    terminal: Option<Terminal>,
}

/// One connection of the lab.
struct Connection {
    port: Port,
    session: Session,
    jobs: Arc<Jobs>,
    foreground: Arc<Mutex<Option<Foreground>>>,
}

impl Connection {
    fn foreground(&self) -> MutexGuard<'_, Option<Foreground>> {
        self.foreground
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, command: &Command) -> Result<()> {
        if self.foreground().is_some() {
            bail!("a command is running in this session already");
        }
        let (port, session) = (self.port.clone(), self.session);
        let sink: Sink = Arc::new(move |channel, data: &[u8]| {
            port.reply_output(session, channel, data);
        });
        let mut process = Process::start(command, sink)?;
        *self.foreground() = Some(Foreground {
            group: process.group(),
            terminal: process.take_terminal(),
        });
        let limit = command.limit_ms.map(Duration::from_millis);
        let (port, foreground) = (self.port.clone(), self.foreground.clone());
        thread::spawn(move || {
            let status = process.finish(limit);
            *foreground.lock().unwrap_or_else(PoisonError::into_inner) = None;
            port.reply(session, Event::Exit(status));
        });
        Ok(())
    }

    /// Serves one request. `Some` is the answer; `None`: it comes later or there is none.
    fn serve(&self, request: Request) -> Result<Option<Event>> {
        Ok(match request {
            Request::Hello(_) => Some(Event::Ready),
            Request::Run(command) => {
                self.run(&command)?;
                None
            }
            Request::Input(data) => {
                if let Some(terminal) = self.foreground().as_mut().and_then(|f| f.terminal.as_mut())
                {
                    terminal.input(&data)?;
                }
                None
            }
            Request::Resize(size) => {
                if let Some(terminal) = self.foreground().as_ref().and_then(|f| f.terminal.as_ref())
                {
                    terminal.resize(size)?;
                }
                None
            }
            Request::Start(command) => Some(Event::Started(self.jobs.start(&command)?)),
            Request::Wait(id) => {
                let job = self.jobs.find(id)?;
                let (port, session) = (self.port.clone(), self.session);
                thread::spawn(move || {
                    let (output, status) = job.wait();
                    for (channel, data) in output {
                        port.reply_output(session, channel, &data);
                    }
                    port.reply(session, Event::Exit(status));
                });
                None
            }
            Request::Kill(id) => {
                self.jobs.find(id)?.kill();
                Some(Event::Done)
            }
            Request::Put {
                path,
                mode,
                offset,
                data,
            } => {
                put(&path, mode, offset, &data).with_context(|| format!("write {path}"))?;
                Some(Event::Done)
            }
            Request::Get { path, offset } => Some(Event::Content(
                get(&path, offset).with_context(|| format!("read {path}"))?,
            )),
            // The session is over already.
            Request::Goodbye => None,
            Request::PowerOff => power_off()?,
        })
    }
}

fn put(path: &str, mode: u32, offset: u64, data: &[u8]) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(offset == 0)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file.write_all_at(data, offset)?)
}

fn get(path: &str, offset: u64) -> Result<Vec<u8>> {
    let mut data = vec![0; CHUNK];
    let length = File::open(path)?.read_at(&mut data, offset)?;
    data.truncate(length);
    Ok(data)
}

fn power_off() -> Result<Option<Event>> {
    if systemd::is_first() {
        systemd::power_off()?;
        return Ok(Some(Event::Done));
    }
    kill_everyone()
}

fn kill_everyone() -> ! {
    let everyone = Pid::from_raw(-1);
    for (signal, pause) in [
        (Signal::SIGTERM, TERMINATE),
        (Signal::SIGKILL, Duration::ZERO),
    ] {
        // Nobody left to kill is the aim.
        let _ = kill(everyone, signal);
        thread::sleep(pause);
    }
    nix::unistd::sync();
    match boot::give_up() {}
}

fn serve_port(machine: Machine, index: usize, jobs: &Arc<Jobs>) -> Result<()> {
    let file = machine::open_port(machine, index)?;
    let port = Port(Arc::new(Mutex::new(Outbox {
        port: file.try_clone().context("duplicate the port")?,
        session: None,
    })));
    let mut receiver = Receiver::new(BufReader::new(file));
    let mut connection: Option<Connection> = None;
    let mut absent = 0;
    loop {
        let request = match receiver.receive()? {
            Received::Message(request) => request,
            Received::Garbage => continue,
            Received::End => {
                absent = ABSENT.min(absent) + 1;
                if absent == ABSENT {
                    end(connection.take());
                    port.open(None);
                }
                thread::sleep(PORT_POLL);
                continue;
            }
        };
        absent = 0;
        match request {
            Request::Hello(session) => {
                end(connection.take());
                port.open(Some(session));
                connection = Some(Connection {
                    port: port.clone(),
                    session,
                    jobs: jobs.clone(),
                    foreground: Arc::default(),
                });
            }
            Request::Goodbye => {
                end(connection.take());
                port.open(None);
            }
            _ => {}
        }
        let Some(connection) = &connection else {
            continue;
        };
        match connection.serve(request) {
            Ok(Some(event)) => port.reply(connection.session, event),
            Ok(None) => {}
            Err(error) => port.reply(connection.session, Event::Failed(format!("{error:#}"))),
        }
    }
}

/// Nobody waits for the command of a session that is over.
fn end(connection: Option<Connection>) {
    if let Some(foreground) = connection.and_then(|c| c.foreground().take()) {
        foreground.group.kill();
    }
}

/// Serves until the guest ends.
pub fn run() -> Result<()> {
    let up = process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("run ip")?;
    if !up.success() {
        bail!("ip link set lo up: {up}");
    }
    let machine = machine::of_command_line()?;
    let jobs = Arc::new(Jobs::default());
    let ports: Vec<_> = (0..PORTS)
        .map(|index| {
            let jobs = jobs.clone();
            thread::spawn(move || serve_port(machine, index, &jobs))
        })
        .collect();
    for port in ports {
        match port.join() {
            Ok(outcome) => outcome?,
            Err(_) => bail!("the thread of an agent port panicked"),
        }
    }
    Ok(())
}
