// SPDX-License-Identifier: GPL-2.0

//! The stream device.

use std::fs::File;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use rustix::fs::OFlags;

/// How long the device may be away: the other end may be changing its cable.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// Pause between two attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// An open stream that never waits.
pub struct Stream(File);

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing has arrived.
    Nothing,
    /// The other end has closed, or the cable is out.
    End,
}

impl Stream {
    /// Opens the device.
    pub fn open(device: &Path) -> Result<Self> {
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).context("the flag's number")?;
            let file = File::options()
                .read(true)
                .write(true)
                .custom_flags(flags)
                .open(device);
            match file {
                Ok(file) => return Ok(Self(file)),
                Err(_) if Instant::now() < deadline => thread::sleep(OPEN_PAUSE),
                Err(error) => {
                    return Err(error).with_context(|| format!("open {}", device.display()));
                }
            }
        }
    }

    /// Reads what has arrived.
    pub fn read(&mut self, into: &mut [u8]) -> Got {
        match self.0.read(into) {
            Ok(0) => Got::End,
            Ok(len) => Got::Bytes(len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => Got::Nothing,
            Err(_) => Got::End,
        }
    }

    /// Writes as much as there is room for; says how much.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes).unwrap_or(0)
    }
}
