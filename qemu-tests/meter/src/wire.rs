// SPDX-License-Identifier: GPL-2.0

//! The byte stream to the other end.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

/// A stream device that was just opened forgets what arrives while its buffers are posted; whoever speaks first waits.
const SETTLE: Duration = Duration::from_millis(500);

/// Whether TCP may hold small messages back to send them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// It may.
    On,
    /// Every message goes out at once.
    Off,
}

/// The byte stream.
pub enum Wire {
    /// A USB4STREAM device.
    Stream(File),
    /// A TCP connection.
    Tcp(TcpStream),
}

impl Wire {
    /// Opens the stream device.
    pub fn stream(device: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(device);
        let file = file.with_context(|| format!("open {}", device.display()))?;
        thread::sleep(SETTLE);
        Ok(Self::Stream(file))
    }

    /// Waits for `count` connections at `address`; calls `ready` once they can be made.
    pub fn accept(
        address: &str,
        count: u32,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Self>> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        ready()?;
        let accept = |_| {
            let (stream, _) = listener.accept().context("accept a connection")?;
            Ok(Self::Tcp(stream))
        };
        (0..count).map(accept).collect()
    }

    /// Connects to `address`.
    pub fn connect(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        Ok(Self::Tcp(stream))
    }

    /// Sets what TCP does with small messages. A stream device never holds any back.
    pub fn coalesce(&self, coalescing: Coalescing) -> Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::Tcp(stream) => stream
                .set_nodelay(coalescing == Coalescing::Off)
                .context("set TCP_NODELAY"),
        }
    }
}

/// Both directions are independent, so that one thread can read while another one writes.
impl Read for &Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Stream(file) => (&*file).read(buffer),
            Wire::Tcp(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Wire {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Stream(file) => (&*file).write(buffer),
            Wire::Tcp(stream) => (&*stream).write(buffer),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
