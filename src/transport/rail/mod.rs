// SPDX-License-Identifier: GPL-2.0

//! One rail: a stream that keeps order, over which frames are numbered, acknowledged and, when one
//! is lost, handed back to whoever sent it.

pub mod deframer;
pub mod endpoint;
pub mod hello;
pub mod router_uuid;
pub mod rx;
pub mod session;
pub mod tx;

use super::ids::Psn;
use super::ids::Qpn;

/// What a frame in flight carries, as far as must be known to send it again.
///
/// Whoever owns the contents sends them again, perhaps over another rail: the frame itself is not
/// kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InFlight {
    /// A segment of a request of this queue pair of ours.
    Request {
        /// Our queue pair.
        qpn: Qpn,
        /// The segment.
        psn: Psn,
    },
    /// A segment of an answer of this queue pair of ours.
    Response {
        /// Our queue pair.
        qpn: Qpn,
        /// The segment, in the space of responses.
        psn: Psn,
    },
    /// The receiving state of this queue pair of ours.
    Ack {
        /// Our queue pair.
        qpn: Qpn,
    },
    /// A frame of the network interface: not sent again.
    Datagram,
    /// A segment of an unreliable connection of this queue pair of ours: not sent again.
    Unreliable {
        /// The queue pair.
        qpn: Qpn,
    },
    /// An unreliable datagram of this queue pair of ours: not sent again.
    UnreliableDatagram {
        /// Our queue pair.
        qpn: Qpn,
    },
}

impl InFlight {
    /// The queue pair it is of, if it is of one.
    pub const fn qpn(&self) -> Option<Qpn> {
        match self {
            Self::Request { qpn, .. }
            | Self::Response { qpn, .. }
            | Self::Ack { qpn }
            | Self::Unreliable { qpn }
            | Self::UnreliableDatagram { qpn } => Some(*qpn),
            Self::Datagram => None,
        }
    }
}

/// How the peer broke the rules of the rail. The rail must be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RailViolation {
    /// It acknowledged a frame that was never sent.
    AckBeyondSent,
    /// It reported as lost what was never sent.
    LostBeyondSent,
}
