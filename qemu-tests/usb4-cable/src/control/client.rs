// SPDX-License-Identifier: GPL-2.0

//! The client of the control socket.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use super::Answer;
use super::CableStatus;
use super::Direction;
use super::LinkState;
use super::Request;
use super::Status;
use crate::fault::Faults;

/// Longest wait for an answer. The program answers in well under a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks at a link that is awaited.
const LINK_POLL: Duration = Duration::from_millis(20);

/// A connection to a running program. Dropping it changes nothing.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed or ended.
    #[error("control socket of usb4-cable: {0}")]
    Io(#[from] std::io::Error),
    /// The answer is not one.
    #[error("unexpected answer from usb4-cable: {0}")]
    Answer(#[from] serde_json::Error),
    /// The program refused.
    #[error("usb4-cable: {0}")]
    Refused(String),
    /// The answer is to another request.
    #[error("usb4-cable answered another request: {0:?}")]
    Mismatch(Box<Answer>),
    /// There is no such cable.
    #[error("there is no cable {0:?}")]
    NoSuchCable(String),
    /// A link did not get where it was awaited in time.
    #[error("link of cable {cable:?} is not {awaited:?} after {waited:?}")]
    LinkTimeout {
        /// The cable.
        cable: String,
        /// The state awaited.
        awaited: LinkState,
        /// How long was waited.
        waited: Duration,
    },
}

impl Client {
    /// Connects to the control socket at `path`
    /// (see [`control_socket`](crate::topology::control_socket)).
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// State and counters of everything.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(status),
            other => Err(ClientError::Mismatch(Box::new(other))),
        }
    }

    /// State and counters of the cable named `cable`.
    pub fn cable(&mut self, cable: &str) -> Result<CableStatus, ClientError> {
        self.status()?
            .cables
            .into_iter()
            .find(|status| status.name == cable)
            .ok_or_else(|| ClientError::NoSuchCable(cable.to_owned()))
    }

    /// Plugs the cable named `cable` in.
    pub fn plug(&mut self, cable: &str) -> Result<(), ClientError> {
        self.order(&Request::Plug {
            cable: cable.to_owned(),
        })
    }

    /// Pulls the cable named `cable` out.
    pub fn unplug(&mut self, cable: &str) -> Result<(), ClientError> {
        self.order(&Request::Unplug {
            cable: cable.to_owned(),
        })
    }

    /// Replaces the faults of the cable named `cable` in both directions.
    pub fn set_faults(&mut self, cable: &str, faults: &Faults) -> Result<(), ClientError> {
        self.order(&Request::SetFaults {
            cable: cable.to_owned(),
            direction: None,
            faults: faults.clone(),
        })
    }

    /// Replaces the faults of the cable named `cable` in one direction.
    pub fn set_direction_faults(
        &mut self,
        cable: &str,
        direction: Direction,
        faults: &Faults,
    ) -> Result<(), ClientError> {
        self.order(&Request::SetFaults {
            cable: cable.to_owned(),
            direction: Some(direction),
            faults: faults.clone(),
        })
    }

    /// Waits until the link of the cable named `cable` is `awaited`, at most `timeout`.
    pub fn wait_link(
        &mut self,
        cable: &str,
        awaited: LinkState,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let start = Instant::now();
        while self.cable(cable)?.link != awaited {
            let waited = start.elapsed();
            if waited >= timeout {
                return Err(ClientError::LinkTimeout {
                    cable: cable.to_owned(),
                    awaited,
                    waited,
                });
            }
            std::thread::sleep(LINK_POLL);
        }
        Ok(())
    }

    fn order(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            other => Err(ClientError::Mismatch(Box::new(other))),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        line.clear();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&line)? {
            Answer::Error { message } => Err(ClientError::Refused(message)),
            answer => Ok(answer),
        }
    }
}
