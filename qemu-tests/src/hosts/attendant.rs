// SPDX-License-Identifier: GPL-2.0

//! Who stands by a kernel that is a process: writes down what its console says, and makes its serial lines sockets.
//!
//! QEMU does so for its guests. User-Mode Linux has no lines that come and go: it has open files. So the lab starts itself as
//! `lab attend SPEC`, which makes the sockets, starts the kernel, and carries bytes between the two.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::send;
use lab_agent::protocol::Request;
use lab_agent::protocol::LISTENING;
use rustix::io::fcntl_setfd;
use rustix::io::FdFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::within::SELF;

/// How many mappings a process may have, on the machine the lab runs on.
const MAPPINGS: &str = "/proc/sys/vm/max_map_count";

/// How many it has to be allowed: each page of a process in a guest may be a mapping of its own.
const ENOUGH_MAPPINGS: u64 = 4 << 20;

/// Bytes carried at once.
const CHUNK: usize = 64 * 1024;

/// A kernel that is a process, and what it is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attendant {
    /// The kernel. Its first terminal is on its standard input and output; where its serial lines are is added to its arguments.
    pub kernel: Program,
    /// What the console says goes to the end of this file.
    pub console: PathBuf,
    /// Sockets of the serial lines.
    pub lines: Vec<PathBuf>,
    /// When it all ends.
    pub lifetime: Lifetime,
}

/// Who is at the other end of a line.
type Client = Arc<Mutex<Option<UnixStream>>>;

impl Attendant {
    /// The command which starts it.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(SELF);
        command
            .arg("attend")
            .arg(serde_json::to_string(self).context("encode a kernel")?);
        Ok(command)
    }

    /// Runs the kernel to its end.
    pub fn run(&self) -> Result<ExitStatus> {
        self.lifetime.begin()?;
        allow_mappings()?;
        let mut kernel = self.kernel.clone();
        let mut theirs = Vec::new();
        for (number, path) in self.lines.iter().enumerate() {
            let listener = bind(path)?;
            let (ours, line) = UnixStream::pair().context("make a serial line")?;
            fcntl_setfd(&line, FdFlags::empty()).context("let the kernel have its line")?;
            kernel
                .argv
                .push(format!("ssl{number}=fd:{}", line.as_raw_fd()));
            theirs.push(line);
            serve(listener, ours)?;
        }
        let console = File::options()
            .append(true)
            .create(true)
            .open(&self.console);
        let console = console.with_context(|| format!("open {}", self.console.display()))?;
        // Never says anything, and never ends.
        let (_keyboard, keys) = UnixStream::pair().context("make a terminal")?;
        let mut running = kernel
            .command()?
            .stdin(std::os::fd::OwnedFd::from(keys))
            .stdout(console)
            .spawn()
            .context("start the kernel")?;
        drop(theirs);
        running.wait().context("wait for the kernel")
    }
}

/// Raises the limit of mappings if it is too low.
fn allow_mappings() -> Result<()> {
    let allowed = fs::read_to_string(MAPPINGS).with_context(|| format!("read {MAPPINGS}"))?;
    if allowed
        .trim()
        .parse()
        .is_ok_and(|allowed: u64| allowed >= ENOUGH_MAPPINGS)
    {
        return Ok(());
    }
    fs::write(MAPPINGS, ENOUGH_MAPPINGS.to_string()).with_context(|| format!("write {MAPPINGS}"))
}

/// Listens on the socket `path`, in place of one that is left of an earlier kernel.
fn bind(path: &Path) -> Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))
}

/// Carries bytes between the `line` and whoever connects to `listener`, one after the other, in threads of its own.
fn serve(listener: UnixListener, line: UnixStream) -> Result<()> {
    let from_kernel = line.try_clone().context("duplicate a line")?;
    // A line that breaks has ended with its kernel.
    thread::spawn(move || carry(&listener, line, from_kernel));
    Ok(())
}

fn carry(listener: &UnixListener, line: UnixStream, mut from_kernel: UnixStream) -> Result<()> {
    await_listener(&mut from_kernel)?;
    let client = Client::default();
    let to = client.clone();
    thread::spawn(move || carry_out(from_kernel, &to));
    carry_in(listener, line, &client)
}

/// Waits until the agent listens at the other end of `line`.
fn await_listener(line: &mut UnixStream) -> io::Result<()> {
    let mut said = [0];
    while said != [LISTENING] {
        line.read_exact(&mut said)?;
    }
    Ok(())
}

fn present(client: &Client) -> MutexGuard<'_, Option<UnixStream>> {
    client.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the guest says is lost if nobody is there, as on QEMU's lines.
fn carry_out(mut line: UnixStream, client: &Client) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = line.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if let Some(client) = present(client).as_mut() {
            // It may have gone just now.
            let _ = client.write_all(&buffer[..length]);
        }
    }
}

fn carry_in(listener: &UnixListener, mut line: UnixStream, client: &Client) -> Result<()> {
    for stream in listener.incoming() {
        let mut stream = stream?;
        *present(client) = Some(stream.try_clone()?);
        // However it ends, the next one may come.
        let _ = io::copy(&mut stream, &mut line);
        *present(client) = None;
        // It may have ended in the middle of a message.
        line.write_all(b"\n")?;
        send(&mut line, &Request::Goodbye)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::io::BufReader;

    use super::*;

    #[test]
    fn clients_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("line");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        serve(bind(&path).unwrap(), ours).unwrap();
        theirs.write_all(&[LISTENING]).unwrap();
        let mut guest = BufReader::new(theirs);
        let mut line = || {
            let mut line = String::new();
            guest.read_line(&mut line).unwrap();
            line
        };
        for _ in 0..2 {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"question\nhalf").unwrap();
            assert_eq!(line(), "question\n");
            drop(client);
            assert_eq!(line(), "half\n");
            assert_eq!(line(), "\"goodbye\"\n");
        }
    }

    #[test]
    fn what_the_guest_says_reaches_who_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("line");
        let (ours, mut guest) = UnixStream::pair().unwrap();
        serve(bind(&path).unwrap(), ours).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"?").unwrap();
        // Nobody listened, so it was kept.
        guest.write_all(&[LISTENING]).unwrap();
        guest.read_exact(&mut [0]).unwrap();
        guest.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[test]
    fn a_socket_that_was_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("line");
        drop(bind(&path).unwrap());
        assert!(path.exists());
        bind(&path).unwrap();
    }
}
