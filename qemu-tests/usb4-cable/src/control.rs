// SPDX-License-Identifier: GPL-2.0

//! Control of a running `usb4-cable` program: requests and answers, one JSON object a line, over
//! a Unix socket.

mod client;
mod message;
mod schedule;

pub use client::Client;
pub use client::ClientError;
pub use message::Answer;
pub use message::Request;
pub use schedule::Schedule;

pub use crate::connection::Connection;
pub use crate::link::Direction;
pub use crate::link::LinkState;
pub use crate::link::Plug;
pub use crate::ring_status::InterruptState;
pub use crate::ring_status::RingKind;
pub use crate::ring_status::RingStatus;
pub use crate::status::CableStatus;
pub use crate::status::NhiStatus;
pub use crate::status::Status;
