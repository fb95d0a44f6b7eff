// SPDX-License-Identifier: GPL-2.0

//! The agent protocol: one JSON object per line over a virtio-serial port, or a serial line.
//!
//! The lab opens a session with [`Request::Hello`] and a fresh number. Every reply carries the number
//! of the session it belongs to, so what a killed client left in the port's buffers is recognised and
//! dropped by the next one.

use std::io::BufRead;
use std::io::Write;

use anyhow::Context;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde::Serialize;

/// Most bytes of output or file content in one message.
pub const CHUNK: usize = 24 * 1024;

/// Number of agent ports of a guest: as many sessions can be open at once.
pub const PORTS: usize = 6;

/// Name of agent port `index`, as both ends know it.
pub fn port_name(index: usize) -> String {
    format!("lab.{index}")
}

/// Serial line that is agent port `index` on [`Machine::UserMode`].
pub fn line_name(index: usize) -> String {
    format!("ttyS{index}")
}

/// What the agent says first on such a line, when it listens. The guest may not notice what was written to the line before.
pub const LISTENING: u8 = b'\n';

/// Where the share of files between the lab and the guest is mounted inside the guest.
pub const SHARE: &str = "/lab/share";

/// Mount tag of the guest's read-only root.
pub const ROOT_TAG: &str = "lab-root";

/// Mount tag of the share at [`SHARE`].
pub const SHARE_TAG: &str = "lab-share";

/// The guest's read-only root on [`Machine::UserMode`], as the guest's kernel sees it outside.
pub const ROOT_OUTSIDE: &str = "/lab/guest";

/// The share at [`SHARE`] there.
pub const SHARE_OUTSIDE: &str = "/lab/share";

/// Kernel command line parameter which names the guest.
pub const HOST_PARAMETER: &str = "lab.host";

/// Kernel command line parameter which names what runs the guest, as [`Machine::name`] does.
pub const MACHINE_PARAMETER: &str = "lab.machine";

/// Kernel command line parameter which says that systemd is the guest's first process, once the agent has made its root. What the guest
/// writes is on [`DISK`] then, and is there when it boots again.
pub const SYSTEMD_PARAMETER: &str = "lab.systemd";

/// What is written to such a guest's root, on [`Machine::Qemu`].
pub const DISK: &str = "/dev/vda";

/// What runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU.
    Qemu,
    /// Nothing: its kernel is a process.
    UserMode,
}

impl Machine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::UserMode => "um",
        }
    }

    /// The one with that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Qemu, Self::UserMode]
            .into_iter()
            .find(|machine| machine.name() == name)
    }
}

/// File in the initramfs listing the modules to load, one path per line, dependencies first.
pub const MODULE_LIST: &str = "/modules.list";

/// A number chosen by the lab for one connection to an agent port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session(pub u64);

/// A background process of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u32);

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A command for the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; the program is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Variables added to the agent's environment.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// After so many milliseconds the process group is killed. `None`: no limit.
    #[serde(default)]
    pub limit_ms: Option<u64>,
    /// Run on a pseudo-terminal of this size. `None`: pipes, and nothing on standard input.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// From the lab to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Opens a session; answered by [`Event::Ready`].
    Hello(Session),
    /// Runs a command: [`Event::Output`] as it comes, then [`Event::Exit`]. Killed when the session ends.
    Run(Command),
    /// What the lab's user typed, for the running command's terminal.
    Input(#[serde(with = "bytes")] Vec<u8>),
    /// The user's terminal has a new size.
    Resize(TerminalSize),
    /// Starts a command in the background; answered by [`Event::Started`]. It outlives the session.
    Start(Command),
    /// Waits for a background process: its whole output, then [`Event::Exit`].
    Wait(JobId),
    /// Kills a background process's group; answered by [`Event::Done`]. [`Request::Wait`] then tells how it ended.
    Kill(JobId),
    /// Writes a file, creating it with `mode`; answered by [`Event::Done`].
    Put {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Where in the file `data` goes. At 0 the file is emptied first.
        offset: u64,
        /// At most [`CHUNK`] bytes.
        #[serde(with = "bytes")]
        data: Vec<u8>,
    },
    /// Reads up to [`CHUNK`] bytes of a file; answered by [`Event::Content`], empty at the end.
    Get {
        /// Absolute path.
        path: String,
        /// Where to begin.
        offset: u64,
    },
    /// Ends the session, for a line that cannot tell that the lab is gone. There is no answer.
    Goodbye,
    /// Ends every process and powers the guest off. There is no answer.
    PowerOff,
}

/// Which of a process's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// It ended with this status.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// It was killed because it ran into its time limit.
    TimedOut,
}

impl ExitStatus {
    /// Whether the process ended with status 0.
    pub fn success(self) -> bool {
        self == ExitStatus::Code(0)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::Signal(signal) => write!(f, "killed by signal {signal}"),
            ExitStatus::TimedOut => write!(f, "killed at its time limit"),
        }
    }
}

/// From the agent to the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The session is open.
    Ready,
    /// Output of the running or awaited process.
    Output {
        /// Which output.
        channel: Channel,
        /// At most [`CHUNK`] bytes.
        #[serde(with = "bytes")]
        data: Vec<u8>,
    },
    /// The running or awaited process ended.
    Exit(ExitStatus),
    /// A background process runs.
    Started(JobId),
    /// File content.
    Content(#[serde(with = "bytes")] Vec<u8>),
    /// Done.
    Done,
    /// The request failed.
    Failed(String),
}

/// An event and the session it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The session which asked.
    pub session: Session,
    /// What happened.
    pub event: Event,
}

/// Writes one message.
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("encode a message")?;
    line.push(b'\n');
    to.write_all(&line).context("write to the agent port")?;
    to.flush().context("flush the agent port")
}

/// What [`Receiver::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A message.
    Message(T),
    /// A line that is no message: the rest of an interrupted session.
    Garbage,
    /// Nothing more for now: the other end is gone, or away.
    End,
}

/// Reads messages.
///
/// A virtio-serial port may report its end for a moment although the next client is connected already and
/// has begun to write, because connections and data come to the guest by different queues. So what has
/// been read of a line is kept over an end.
pub struct Receiver<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> Receiver<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    /// What it reads from.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Reads one line.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Received<T>> {
        self.reader
            .read_until(b'\n', &mut self.line)
            .context("read from the agent port")?;
        if self.line.last() != Some(&b'\n') {
            return Ok(Received::End);
        }
        let message = serde_json::from_slice(&self.line);
        self.line.clear();
        Ok(match message {
            Ok(message) => Received::Message(message),
            Err(_) => Received::Garbage,
        })
    }
}

/// Bytes as base64 text.
mod bytes {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;

    pub fn serialize<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(data))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(message: Request) {
        let mut wire = Vec::new();
        send(&mut wire, &message).unwrap();
        assert_eq!(wire.iter().filter(|byte| **byte == b'\n').count(), 1);
        let mut receiver = Receiver::new(wire.as_slice());
        assert_eq!(receiver.receive().unwrap(), Received::Message(message));
        assert_eq!(receiver.receive::<Request>().unwrap(), Received::End);
    }

    #[test]
    fn messages_survive_the_wire() {
        round_trip(Request::Hello(Session(u64::MAX)));
        round_trip(Request::Run(Command {
            argv: vec!["printf".into(), "a\nb\"\u{1f600}".into()],
            environment: vec![("A".into(), "1".into())],
            limit_ms: Some(5),
            terminal: Some(TerminalSize {
                rows: 24,
                columns: 80,
            }),
        }));
        round_trip(Request::Put {
            path: "/x".into(),
            mode: 0o755,
            offset: 1 << 40,
            data: (0..=255).collect(),
        });
        round_trip(Request::Goodbye);
        round_trip(Request::PowerOff);
    }

    #[test]
    fn machines_are_found_by_their_names() {
        for machine in [Machine::Qemu, Machine::UserMode] {
            assert_eq!(Machine::named(machine.name()), Some(machine));
        }
        assert_eq!(Machine::named(""), None);
    }

    #[test]
    fn the_rest_of_a_broken_session_is_garbage_not_an_error() {
        let wire = b"{\"run\":{\"ar\n\n{\"hello\":7}\n".as_slice();
        let mut receiver = Receiver::new(wire);
        assert_eq!(receiver.receive::<Request>().unwrap(), Received::Garbage);
        assert_eq!(receiver.receive::<Request>().unwrap(), Received::Garbage);
        assert_eq!(
            receiver.receive().unwrap(),
            Received::Message(Request::Hello(Session(7)))
        );
        assert_eq!(receiver.receive::<Request>().unwrap(), Received::End);
    }

    /// Ends once after each of its pieces.
    struct Pieces(Vec<&'static [u8]>);

    impl std::io::Read for Pieces {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            unreachable!("only read through BufRead")
        }
    }

    impl BufRead for Pieces {
        fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            Ok(self.0[0])
        }

        fn consume(&mut self, length: usize) {
            self.0[0] = &self.0[0][length..];
        }
    }

    #[test]
    fn a_line_goes_on_after_a_momentary_end() {
        let mut receiver = Receiver::new(Pieces(vec![b"{\"hel"]));
        assert_eq!(receiver.receive::<Request>().unwrap(), Received::End);
        receiver.reader = Pieces(vec![b"lo\":7}\n"]);
        assert_eq!(
            receiver.receive().unwrap(),
            Received::Message(Request::Hello(Session(7)))
        );
    }

    #[test]
    fn only_status_zero_is_success() {
        assert!(ExitStatus::Code(0).success());
        assert!(!ExitStatus::Code(1).success());
        assert!(!ExitStatus::Signal(9).success());
        assert!(!ExitStatus::TimedOut.success());
    }
}
