// SPDX-License-Identifier: GPL-2.0

//! Unreliable datagrams (IBTA 9.8.3): messages of one frame each, which arrive once or not at all.
//!
//! Nothing is sent again, acknowledged or put in order. What a rail loses is lost; a rail sorts out what is damaged or comes twice.
//! A datagram lands in a receive behind the header that a network would have carried it with, which is how the receiver
//! learns where it came from.

mod network_header;
mod receiver;
mod sender;

pub use network_header::destination;
pub use network_header::Gid;
pub use network_header::Path;
pub use receiver::DatagramCompletion;
pub use receiver::DatagramDropped;
pub use receiver::DatagramPlacement;
pub use receiver::DatagramReceiver;
pub use receiver::DatagramToken;
pub use receiver::TakenReceive;
pub use sender::Datagram;
pub use sender::DatagramRequest;
pub use sender::DatagramSender;

pub use super::frame::MAX_DATAGRAM;
pub use super::frame::NETWORK_HEADER_LEN;
