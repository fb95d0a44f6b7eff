// SPDX-License-Identifier: GPL-2.0

//! A process of the guest, run for the lab.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Channel;
use lab_agent::protocol::Command;
use lab_agent::protocol::ExitStatus;
use lab_agent::protocol::TerminalSize;
use lab_agent::protocol::CHUNK;
use nix::pty::openpty;
use nix::pty::Winsize;
use nix::sys::signal::killpg;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How long output is still collected after the process ended: what it left behind may hold its pipes open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// All programs give way to the kernel's threads. Hosts have few CPUs, on which a program that polls
/// would delay each of them by up to a tick of the clock; a real host has idle CPUs for them. They do so no more than what
/// `nice` is used for otherwise: a driver may treat programs that are nicer in another way than those that users have.
const GIVE_WAY: [&str; 3] = ["nice", "-n", "10"];

nix::ioctl_write_ptr_bad!(set_window_size, nix::libc::TIOCSWINSZ, Winsize);

/// Takes output as it comes.
pub type Sink = Arc<dyn Fn(Channel, &[u8]) + Send + Sync>;

/// A started process.
pub struct Process {
    child: Child,
    group: Group,
    pumps: Vec<JoinHandle<()>>,
    terminal: Option<Terminal>,
}

/// A process group, to be killed.
#[derive(Clone, Copy, Debug)]
pub struct Group(Pid);

impl Group {
    /// Kills every process of the group. A group that is gone already is fine.
    pub fn kill(self) {
        if let Err(error) = killpg(self.0, Signal::SIGKILL) {
            if error != nix::errno::Errno::ESRCH {
                eprintln!("lab-agent: kill process group {}: {error}", self.0);
            }
        }
    }
}

/// The lab's end of a process's terminal.
pub struct Terminal(File);

impl Terminal {
    /// Types `data`.
    pub fn input(&mut self, data: &[u8]) -> Result<()> {
        self.0.write_all(data).context("write to the terminal")
    }

    /// Changes the size.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        use std::os::fd::AsRawFd;
        let size = window(size);
        // SAFETY: The descriptor is an open terminal, owned by `self`, and `size` is a valid
        // `struct winsize` which the kernel only reads during the call.
        unsafe { set_window_size(self.0.as_raw_fd(), &size) }.context("resize the terminal")?;
        Ok(())
    }
}

fn window(size: TerminalSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn pump(mut from: impl Read + Send + 'static, channel: Channel, sink: Sink) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        // A terminal's last read fails with EIO: the end, like 0.
        while let Ok(length) = from.read(&mut buffer) {
            if length == 0 {
                break;
            }
            sink(channel, &buffer[..length]);
        }
    })
}

impl Process {
    /// Starts `command` as the leader of its own process group; its output goes to `sink`.
    pub fn start(command: &Command, sink: Sink) -> Result<Self> {
        let program = command.argv.first().context("the command is empty")?;
        let mut process;
        let mut pumps = Vec::new();
        let mut terminal = None;
        let mut child;
        match command.terminal {
            None => {
                let [nice, options @ ..] = GIVE_WAY;
                process = process::Command::new(nice);
                process
                    .args(options)
                    .args(&command.argv)
                    .envs(command.environment.iter().cloned())
                    .process_group(0)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                child = process
                    .spawn()
                    .with_context(|| format!("start {program}"))?;
                if let Some(stdout) = child.stdout.take() {
                    pumps.push(pump(stdout, Channel::Stdout, sink.clone()));
                }
                if let Some(stderr) = child.stderr.take() {
                    pumps.push(pump(stderr, Channel::Stderr, sink));
                }
            }
            Some(size) => {
                let pty = openpty(Some(&window(size)), None).context("open a terminal")?;
                let slave = File::from(pty.slave);
                let master = File::from(pty.master);
                // setsid makes the process the leader of a session with this controlling terminal.
                process = process::Command::new("setsid");
                process
                    .arg("--ctty")
                    .args(GIVE_WAY)
                    .args(&command.argv)
                    .envs(command.environment.iter().cloned())
                    .stdin(slave.try_clone().context("duplicate the terminal")?)
                    .stdout(slave.try_clone().context("duplicate the terminal")?)
                    .stderr(slave);
                child = process
                    .spawn()
                    .with_context(|| format!("start {program}"))?;
                // Else the master never sees the end: `process` holds the slave open.
                drop(process);
                let output = master.try_clone().context("duplicate the terminal")?;
                pumps.push(pump(output, Channel::Stdout, sink));
                terminal = Some(Terminal(master));
            }
        }
        let pid = i32::try_from(child.id()).context("process id")?;
        Ok(Self {
            child,
            group: Group(Pid::from_raw(pid)),
            pumps,
            terminal,
        })
    }

    /// The process group, for killing it from elsewhere.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The process's terminal, if it runs on one.
    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }

    /// Waits for the end, at most `limit`, then for the rest of the output.
    pub fn finish(self, limit: Option<Duration>) -> ExitStatus {
        let Self {
            mut child,
            group,
            pumps,
            terminal,
        } = self;
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            // The receiver always waits for this message.
            let _ = ended.send(child.wait());
        });
        let first = match limit {
            Some(limit) => end.recv_timeout(limit),
            None => end.recv().map_err(RecvTimeoutError::from),
        };
        let status = match first {
            Ok(status) => from_wait(status),
            Err(_) => {
                group.kill();
                // The message only says that the killed process is gone.
                let _ = end.recv();
                ExitStatus::TimedOut
            }
        };
        let deadline = Instant::now() + LAST_OUTPUT;
        while pumps.iter().any(|pump| !pump.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        drop(terminal);
        status
    }
}

fn from_wait(status: std::io::Result<process::ExitStatus>) -> ExitStatus {
    /// What shells report for a command that could not be waited for.
    const UNKNOWN: i32 = 127;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            (None, None) => ExitStatus::Code(UNKNOWN),
        },
        Err(error) => {
            eprintln!("lab-agent: wait: {error}");
            ExitStatus::Code(UNKNOWN)
        }
    }
}
