// SPDX-License-Identifier: GPL-2.0

//! The lab's end of the agent protocol: a session with a guest.

use std::fs::File;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::send;
use lab_agent::protocol::Channel;
use lab_agent::protocol::Command;
use lab_agent::protocol::Event;
use lab_agent::protocol::ExitStatus;
use lab_agent::protocol::JobId;
use lab_agent::protocol::Received;
use lab_agent::protocol::Receiver;
use lab_agent::protocol::Reply;
use lab_agent::protocol::Request;
use lab_agent::protocol::Session;
use lab_agent::protocol::CHUNK;
use lab_agent::protocol::PORTS;
use rustix::fs::flock;
use rustix::fs::FlockOperation;

use crate::hosts::daemon::Daemon;

/// How long the lab waits for a free port of a guest: others' commands may hold them all.
const PORT_LIMIT: Duration = Duration::from_secs(600);

/// Pause between two looks for a free port, and between two looks whether the guest lives.
const POLL: Duration = Duration::from_millis(200);

/// How long past its limit a command's end is waited for.
const GRACE: Duration = Duration::from_secs(60);

/// How long anything but a command may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Socket of agent port `index` of the guest `host` below `directory`.
pub fn socket(directory: &Path, host: &str, index: usize) -> PathBuf {
    directory.join(format!("{host}-agent{index}.sock"))
}

/// What a command wrote, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output and error as text, for error messages.
    pub fn everything(&self) -> String {
        format!("{}{}", self.text(), String::from_utf8_lossy(&self.stderr))
    }
}

/// Command line `argv` with a time limit.
pub fn command<S: AsRef<str>>(argv: &[S], limit: Duration) -> Command {
    Command {
        argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
        environment: Vec::new(),
        limit_ms: Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        terminal: None,
    }
}

/// An open session. The agent kills a running command when it is dropped.
pub struct Agent {
    host: String,
    guest: Daemon,
    session: Session,
    stream: UnixStream,
    receiver: Receiver<BufReader<UnixStream>>,
    /// Holds the lock on the port.
    _port: File,
}

impl Agent {
    /// Opens a session on a free port of `host`, whose QEMU is `guest`; waits `limit` for the agent to answer.
    pub fn connect(directory: &Path, host: &str, guest: Daemon, limit: Duration) -> Result<Self> {
        let (index, port) = claim_port(directory, host)?;
        let deadline = Instant::now() + limit;
        let path = socket(directory, host, index);
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                // QEMU makes its sockets a moment after it started.
                Err(_) if guest.alive() && Instant::now() < deadline => thread::sleep(POLL),
                Err(error) => {
                    return Err(error).with_context(|| format!("connect to {}", path.display()))
                }
            }
        };
        let reader = BufReader::new(stream.try_clone().context("duplicate the agent's socket")?);
        let mut agent = Self {
            host: host.to_owned(),
            guest,
            session: fresh_session(),
            stream,
            receiver: Receiver::new(reader),
            _port: port,
        };
        // Ends whatever line the last session left unfinished.
        agent
            .stream
            .write_all(b"\n")
            .context("write to the agent port")?;
        agent.ask(&Request::Hello(agent.session))?;
        match agent.event(deadline)? {
            Event::Ready => Ok(agent),
            other => bail!("{host}: unexpected answer to the greeting: {other:?}"),
        }
    }

    /// Runs `command`, giving its output to `sink` as it comes.
    pub fn run_streaming(
        &mut self,
        command: &Command,
        sink: &mut dyn FnMut(Channel, &[u8]),
    ) -> Result<ExitStatus> {
        self.ask(&Request::Run(command.clone()))?;
        let limit = command.limit_ms.map(Duration::from_millis);
        self.until_exit(limit, sink)
            .with_context(|| format!("{}: {}", self.host, command.argv.join(" ")))
    }

    /// Runs `command` to its end.
    pub fn run(&mut self, command: &Command) -> Result<Output> {
        collect(|sink| self.run_streaming(command, sink))
    }

    /// Starts `command` in the background.
    pub fn start(&mut self, command: &Command) -> Result<JobId> {
        self.ask(&Request::Start(command.clone()))?;
        match self.event(Instant::now() + ANSWER_LIMIT)? {
            Event::Started(job) => Ok(job),
            other => self.unexpected(other),
        }
    }

    /// Waits at most `limit` for the end of a background process.
    pub fn wait(&mut self, job: JobId, limit: Duration) -> Result<Output> {
        self.ask(&Request::Wait(job))?;
        collect(|sink| self.until_exit(Some(limit), sink))
            .with_context(|| format!("{}: wait for a background process", self.host))
    }

    /// Kills a background process.
    pub fn kill(&mut self, job: JobId) -> Result<()> {
        self.ask(&Request::Kill(job))?;
        self.done()
    }

    /// Writes a file of the guest.
    pub fn put(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut offset = 0;
        let mut rest = content;
        loop {
            let (data, more) = rest.split_at(rest.len().min(CHUNK));
            self.ask(&Request::Put {
                path: path.to_owned(),
                mode,
                offset,
                data: data.to_vec(),
            })?;
            self.done()?;
            offset += data.len() as u64;
            rest = more;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads a file of the guest.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            self.ask(&Request::Get {
                path: path.to_owned(),
                offset: content.len() as u64,
            })?;
            match self.event(Instant::now() + ANSWER_LIMIT)? {
                Event::Content(data) if data.is_empty() => return Ok(content),
                Event::Content(data) => content.extend(data),
                other => return self.unexpected(other),
            }
        }
    }

    /// Tells the guest to power off.
    pub fn power_off(mut self) -> Result<()> {
        self.ask(&Request::PowerOff)
    }

    /// Sends a request that has no immediate answer.
    pub fn ask(&mut self, request: &Request) -> Result<()> {
        send(&mut self.stream, request).with_context(|| format!("agent of {}", self.host))
    }

    /// Another handle for sending, for a thread that forwards what a user types.
    pub fn sender(&self) -> Result<UnixStream> {
        self.stream
            .try_clone()
            .context("duplicate the agent's socket")
    }

    fn done(&mut self) -> Result<()> {
        match self.event(Instant::now() + ANSWER_LIMIT)? {
            Event::Done => Ok(()),
            other => self.unexpected(other),
        }
    }

    fn unexpected<T>(&self, event: Event) -> Result<T> {
        match event {
            Event::Failed(reason) => bail!("{}: {reason}", self.host),
            other => bail!("{}: unexpected answer from the agent: {other:?}", self.host),
        }
    }

    fn until_exit(
        &mut self,
        limit: Option<Duration>,
        sink: &mut dyn FnMut(Channel, &[u8]),
    ) -> Result<ExitStatus> {
        let deadline = limit.map(|limit| Instant::now() + limit + GRACE);
        loop {
            let until = deadline.unwrap_or_else(|| Instant::now() + PORT_LIMIT);
            match self.event_or_silence(until)? {
                Some(Event::Output { channel, data }) => sink(channel, &data),
                Some(Event::Exit(status)) => return Ok(status),
                Some(other) => return self.unexpected(other),
                None if deadline.is_some() => {
                    bail!("the agent is silent long after the time limit")
                }
                None => {}
            }
        }
    }

    fn event(&mut self, deadline: Instant) -> Result<Event> {
        match self.event_or_silence(deadline)? {
            Some(event) => Ok(event),
            None => bail!("{}: the agent does not answer", self.host),
        }
    }

    /// The next event of this session, or `None` at `deadline`.
    fn event_or_silence(&mut self, deadline: Instant) -> Result<Option<Event>> {
        loop {
            if !self.readable(deadline)? {
                return Ok(None);
            }
            match self.receiver.receive::<Reply>()? {
                Received::Message(reply) if reply.session == self.session => {
                    return Ok(Some(reply.event))
                }
                // An earlier session's.
                Received::Message(_) | Received::Garbage => {}
                Received::End => bail!("{}: the guest is gone", self.host),
            }
        }
    }

    /// Waits for input until `deadline`, or for the guest's end, which is an error.
    fn readable(&self, deadline: Instant) -> Result<bool> {
        if !self.receiver.reader().buffer().is_empty() {
            return Ok(true);
        }
        loop {
            self.stream
                .set_read_timeout(Some(POLL))
                .context("set the read timeout")?;
            let mut byte = [0];
            match rustix::net::recv(&self.stream, &mut byte, rustix::net::RecvFlags::PEEK) {
                Ok(_) => {
                    // A whole line follows at once; it is read without a limit.
                    self.stream
                        .set_read_timeout(None)
                        .context("clear the read timeout")?;
                    return Ok(true);
                }
                Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("read from the agent port"),
            }
            if !self.guest.alive() {
                bail!("{}: the guest ended", self.host);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }
}

fn collect(
    run: impl FnOnce(&mut dyn FnMut(Channel, &[u8])) -> Result<ExitStatus>,
) -> Result<Output> {
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let status = run(&mut |channel, data| match channel {
        Channel::Stdout => stdout.extend_from_slice(data),
        Channel::Stderr => stderr.extend_from_slice(data),
    })?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// A session number no other session of the same guest has.
fn fresh_session() -> Session {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Session(u64::from(std::process::id()) << u32::BITS | u64::from(count))
}

/// Finds a port nobody uses; it stays claimed as long as the file is open.
fn claim_port(directory: &Path, host: &str) -> Result<(usize, File)> {
    let deadline = Instant::now() + PORT_LIMIT;
    loop {
        for index in 0..PORTS {
            let path = socket(directory, host, index).with_extension("lock");
            let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok((index, file));
            }
        }
        if Instant::now() >= deadline {
            bail!("all agent ports of {host} are in use");
        }
        thread::sleep(POLL);
    }
}
