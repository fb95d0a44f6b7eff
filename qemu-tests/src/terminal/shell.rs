// SPDX-License-Identifier: GPL-2.0

//! A prompt on a host.

use std::io::Read;
use std::io::Write;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::send;
use lab_agent::protocol::Command;
use lab_agent::protocol::ExitStatus;
use lab_agent::protocol::Request;
use lab_agent::protocol::TerminalSize;
use rustix::termios::isatty;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;

use crate::hosts::agent::Agent;

/// Bytes read from the user at once.
const KEYS: usize = 1024;

/// How often the terminal's size is looked at.
const SIZE_POLL: Duration = Duration::from_millis(500);

/// The user's terminal in raw mode; dropping it restores the mode it had.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context("read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Flush, &raw).context("set the terminal's mode")?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0) {
            eprintln!("lab: restore the terminal's mode: {error}");
        }
    }
}

fn size() -> Result<TerminalSize> {
    let size = tcgetwinsize(std::io::stdin()).context("read the terminal's size")?;
    Ok(TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Runs a login shell of the host at the other end of `agent` on the user's terminal until it ends.
pub fn run(mut agent: Agent) -> Result<ExitStatus> {
    if !isatty(std::io::stdin()) || !isatty(std::io::stdout()) {
        bail!("a prompt needs a terminal: use `lab exec` in scripts");
    }
    let first_size = size()?;
    let terminal = RawTerminal::enter()?;
    let mut keys = agent.sender()?;
    let mut resizes = agent.sender()?;
    // Both threads end with the process: nothing wakes a thread from reading the terminal.
    thread::spawn(move || {
        let mut buffer = [0; KEYS];
        while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
            if send(&mut keys, &Request::Input(buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        let mut last = first_size;
        while let Ok(now) = size() {
            if now != last && send(&mut resizes, &Request::Resize(now)).is_err() {
                break;
            }
            last = now;
            thread::sleep(SIZE_POLL);
        }
    });
    let mut stdout = std::io::stdout();
    let mut broken = None;
    let command = Command {
        argv: vec!["bash".to_owned(), "--login".to_owned()],
        environment: vec![(
            "TERM".to_owned(),
            std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned()),
        )],
        limit_ms: None,
        terminal: Some(first_size),
    };
    let status = agent.run_streaming(&command, &mut |_, data| {
        let written = stdout.write_all(data).and_then(|()| stdout.flush());
        broken = written.err().or(broken.take());
    });
    drop(terminal);
    match broken {
        Some(error) => Err(error).context("write to the terminal"),
        None => status,
    }
}
