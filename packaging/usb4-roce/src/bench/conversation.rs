// SPDX-License-Identifier: GPL-2.0

//! What the two ends of a measurement say to each other: a JSON document a line.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde::Serialize;

use super::plan::Test;
use crate::host::device::AddressKind;

/// Grows when something changes its meaning.
pub const PROTOCOL: u32 = 1;

/// What the server says first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of this conversation.
    pub protocol: u32,
    /// Which kinds of address its RoCE v2 GIDs are.
    pub gids: Vec<AddressKind>,
    /// Why it cannot serve, if it cannot.
    pub refusal: Option<String>,
}

/// What the client says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start your end of this.
    Start {
        /// The test.
        test: Test,
        /// Over GIDs of this kind.
        gid: AddressKind,
    },
    /// My end has ended.
    Ended,
}

/// What the server answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Its program listens on this port.
    Ready {
        /// The port.
        port: u16,
    },
    /// Its program has ended.
    Ended,
    /// It did not do what it was told, for this reason.
    Failed(String),
}

/// A connection to the other end.
pub struct Conversation {
    lines: BufReader<TcpStream>,
}

impl Conversation {
    /// Over `stream`; who says nothing for `patience` is given up.
    pub fn new(stream: TcpStream, patience: Duration) -> Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        let lines = BufReader::new(stream);
        Ok(Self { lines })
    }

    /// Says something.
    pub fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let stream = self.lines.get_mut();
        stream.write_all(&line).context("the other host has gone")
    }

    /// Hears what the other end says; nothing if it has hung up.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        const LONGEST: u64 = 1 << 16;
        let mut line = Vec::new();
        let mut limited = (&mut self.lines).take(LONGEST);
        limited
            .read_until(b'\n', &mut line)
            .context("the other host is silent")?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => {
                let what = serde_json::from_slice(&line);
                Ok(Some(what.context(
                    "the other end is no usb4-roce of this version",
                )?))
            }
            Some(_) => bail!("the other end is no usb4-roce"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::bench::plan::tests;

    fn pair() -> (TcpStream, Conversation) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        (
            one,
            Conversation::new(other, Duration::from_secs(5)).unwrap(),
        )
    }

    #[test]
    fn what_is_said_is_heard() {
        let (stream, mut hears) = pair();
        let mut says = Conversation::new(stream, Duration::from_secs(5)).unwrap();
        for test in tests() {
            let gid = AddressKind::V4;
            says.say(&Order::Start { test, gid }).unwrap();
            let Some(Order::Start { test: heard, .. }) = hears.hear().unwrap() else {
                panic!("another order");
            };
            assert_eq!(heard, test);
        }
        drop(says);
        assert!(hears.hear::<Order>().unwrap().is_none());
    }

    #[test]
    fn nonsense_is_an_error() {
        for nonsense in ["GET / HTTP/1.1\r\n", "{}\n", "half of a line"] {
            let (mut stream, mut hears) = pair();
            stream.write_all(nonsense.as_bytes()).unwrap();
            drop(stream);
            assert!(hears.hear::<Order>().is_err(), "{nonsense}");
        }
        let (mut stream, mut hears) = pair();
        let endless = std::thread::spawn(move || while stream.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(hears.hear::<Order>().is_err());
        drop(hears);
        endless.join().unwrap();
    }

    #[test]
    fn an_order_has_only_what_is_planned() {
        let order =
            r#"{"Start":{"test":{"metric":"latency","verb":"write","size":"64"},"gid":"V4"}}"#;
        assert!(serde_json::from_str::<Order>(order).is_ok());
        for (part, other) in [
            ("\"64\"", "\"65\""),
            ("write", "--help"),
            ("latency", "/bin/sh"),
        ] {
            assert!(serde_json::from_str::<Order>(&order.replace(part, other)).is_err());
        }
    }
}
