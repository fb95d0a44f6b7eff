// SPDX-License-Identifier: GPL-2.0

//! The side channel over which two ends exchange keys and keep step: one JSON value per line.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde::Serialize;

/// The longest line accepted: no message of these programs comes near it.
const MAX_LINE: u64 = 1 << 20;

/// Pause between attempts to reach a peer that does not listen yet.
const CONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// Pause between looks at a listening socket.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(20);

/// Which end of a connection this is. The client's options rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The end that connects.
    Client,
    /// The end that listens.
    Server,
}

impl Side {
    /// The other one.
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// For arrays with an element per side.
    pub fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }
}

/// What goes over the line.
#[derive(Serialize, Deserialize)]
enum Envelope<T> {
    /// What the receiver waits for.
    Value(T),
    /// Why there will be no value.
    Failed(String),
    /// The end of a step, whatever came before.
    StepEnd(serde_json::Value),
}

/// A side channel to the peer. Every receive gives up after the time limit.
pub struct Peer {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
    limit: Duration,
    /// The peer's end of this step, when it came while a value was waited for.
    step_end: Option<serde_json::Value>,
}

impl Peer {
    /// Two connected ends within this process.
    pub fn pair(limit: Duration) -> Result<(Self, Self)> {
        let (a, b) = UnixStream::pair().context("socketpair")?;
        let end = |stream: UnixStream| -> Result<Self> {
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            Ok(Self::new(
                Box::new(stream.try_clone()?),
                Box::new(stream),
                limit,
            ))
        };
        Ok((end(a)?, end(b)?))
    }

    /// Waits for a peer on `listener`.
    pub fn accept(listener: &TcpListener, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Self::tcp(stream, limit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ensure!(
                        Instant::now() < deadline,
                        "no peer connected within {limit:?}: start the other end with --connect"
                    );
                    thread::sleep(ACCEPT_INTERVAL);
                }
                Err(error) => return Err(error).context("accept"),
            }
        }
    }

    /// Connects to `address` (`host:port`, `[v6]:port`, `[fe80::1%if]:port`), retrying while nobody
    /// listens there.
    pub fn connect(address: &str, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        loop {
            let error = match try_connect(address) {
                Ok(stream) => return Self::tcp(stream, limit),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(error).with_context(|| {
                    format!("{address} cannot be reached within {limit:?}: is the other end up with --listen?")
                });
            }
            thread::sleep(CONNECT_INTERVAL);
        }
    }

    fn tcp(stream: TcpStream, limit: Duration) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self::new(
            Box::new(stream.try_clone()?),
            Box::new(stream),
            limit,
        ))
    }

    fn new(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>, limit: Duration) -> Self {
        Self {
            reader: BufReader::new(reader),
            writer,
            limit,
            step_end: None,
        }
    }

    /// Sends `value`.
    pub fn send<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let Err(error) = self.write(&Envelope::Value(value)) else {
            return Ok(());
        };
        // A peer that has gone may have told why.
        match self.read() {
            Ok(Envelope::Failed(reason)) => bail!("the peer failed: {reason}"),
            _ => Err(error),
        }
    }

    /// Receives a value. An error of the peer's comes back as an error here.
    pub fn recv<T: DeserializeOwned>(&mut self) -> Result<T> {
        if self.step_end.is_some() {
            bail!("the peer has ended this step");
        }
        match self.read()? {
            Envelope::Value(value) => {
                serde_json::from_value(value).context("the peer sent something else than expected")
            }
            Envelope::Failed(reason) => bail!("the peer failed: {reason}"),
            Envelope::StepEnd(value) => {
                self.step_end = Some(value);
                bail!("the peer has ended this step");
            }
        }
    }

    /// Ends a step of which the ends may have gone through different parts, because one of them
    /// failed: exchanges values and drops everything that the peer sent before.
    pub fn end_step<T: Serialize + DeserializeOwned>(&mut self, value: &T) -> Result<T> {
        self.write(&Envelope::<()>::StepEnd(serde_json::to_value(value)?))?;
        let theirs = match self.step_end.take() {
            Some(theirs) => theirs,
            None => loop {
                if let Envelope::StepEnd(theirs) = self.read()? {
                    break theirs;
                }
            },
        };
        serde_json::from_value(theirs).context("the peer ended the step in an unknown way")
    }

    fn read(&mut self) -> Result<Envelope<serde_json::Value>> {
        let mut line = String::new();
        let read = (&mut self.reader)
            .take(MAX_LINE)
            .read_line(&mut line)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    anyhow::anyhow!("the peer said nothing for {:?}", self.limit)
                }
                _ => anyhow::Error::new(error).context("the side channel"),
            })?;
        ensure!(read > 0, "the peer closed the side channel");
        serde_json::from_str(&line)
            .with_context(|| format!("unexpected message from the peer: {}", line.trim_end()))
    }

    /// Sends `value` and receives the peer's counterpart.
    pub fn exchange<T: Serialize + DeserializeOwned>(&mut self, value: &T) -> Result<T> {
        self.send(value)?;
        self.recv()
    }

    /// Gives the client's `value` at both ends: its options rule.
    pub fn agree<T: Serialize + DeserializeOwned>(&mut self, side: Side, value: T) -> Result<T> {
        match side {
            Side::Client => {
                self.send(&value)?;
                Ok(value)
            }
            Side::Server => self.recv(),
        }
    }

    /// Waits until both ends have come to `point`.
    pub fn barrier(&mut self, point: &str) -> Result<()> {
        let theirs: String = self.exchange(&point.to_string())?;
        ensure!(
            theirs == point,
            "out of step: we are at \"{point}\", the peer at \"{theirs}\""
        );
        Ok(())
    }

    /// Tells the peer that this end gives up. Best effort: the peer may be gone.
    pub fn fail(&mut self, reason: &anyhow::Error) {
        // The failure being reported matters more than that of the report.
        let _ = self.write(&Envelope::<()>::Failed(format!("{reason:#}")));
    }

    fn write<T: Serialize>(&mut self, message: &Envelope<T>) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.writer.write_all(&line).context("the side channel")?;
        self.writer.flush().context("the side channel")
    }
}

fn try_connect(address: &str) -> io::Result<TcpStream> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected host:port",
        ));
    };
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "expected host:port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in (host, port).to_socket_addrs()? {
        match TcpStream::connect(candidate) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[test]
    fn values_cross_in_both_directions() {
        let (mut a, mut b) = Peer::pair(LIMIT).expect("a socket pair");
        a.send(&(1u32, "one")).expect("sent");
        b.send(&[2u8, 3]).expect("sent");
        assert_eq!(b.recv::<(u32, String)>().expect("received").0, 1);
        assert_eq!(a.recv::<Vec<u8>>().expect("received"), [2, 3]);
    }

    #[test]
    fn ends_agree_on_what_the_client_wants() {
        let (mut client, mut server) = Peer::pair(LIMIT).expect("a socket pair");
        assert_eq!(client.agree(Side::Client, 1).expect("sent"), 1);
        assert_eq!(server.agree(Side::Server, 2).expect("received"), 1);
    }

    #[test]
    fn a_failure_of_the_peer_is_reported() {
        let (mut a, mut b) = Peer::pair(LIMIT).expect("a socket pair");
        a.fail(&anyhow::anyhow!("no cable"));
        let error = b.recv::<u32>().expect_err("the peer failed");
        assert!(error.to_string().contains("no cable"));
    }

    #[test]
    fn ends_that_went_different_ways_meet_at_the_end_of_a_step() {
        let (mut a, mut b) = Peer::pair(LIMIT).expect("a socket pair");
        a.send(&"one").expect("sent");
        a.fail(&anyhow::anyhow!("no"));
        a.write(&Envelope::<()>::StepEnd(1.into())).expect("sent");
        assert_eq!(b.end_step(&2).expect("their end"), 1);
        let error = a.recv::<u32>().expect_err("the step is over");
        assert!(error.to_string().contains("ended this step"));
        assert_eq!(a.step_end.take(), Some(2.into()));
        a.send(&7).expect("sent");
        assert_eq!(b.recv::<u32>().expect("the next step goes on"), 7);
    }

    #[test]
    fn a_peer_that_failed_and_left_is_reported_when_sending() {
        let (mut a, mut b) = Peer::pair(LIMIT).expect("a socket pair");
        a.fail(&anyhow::anyhow!("no cable"));
        drop(a);
        let error = b.send(&1).expect_err("nobody is there");
        assert!(error.to_string().contains("no cable"));
    }

    #[test]
    fn a_silent_peer_does_not_hang_us() {
        let (mut a, _b) = Peer::pair(LIMIT).expect("a socket pair");
        let error = a.recv::<u32>().expect_err("nobody sends");
        assert!(error.to_string().contains("said nothing"));
    }

    #[test]
    fn a_barrier_tells_ends_that_are_out_of_step() {
        let (mut a, mut b) = Peer::pair(LIMIT).expect("a socket pair");
        b.send(&"later").expect("sent");
        assert!(a.barrier("now").is_err());
    }
}
