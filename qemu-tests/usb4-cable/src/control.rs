// SPDX-License-Identifier: GPL-2.0

//! Control of a running `usb4-cable` program: requests and answers, one JSON object a line, over
//! a Unix socket.

mod client;
mod message;
mod server;

pub use client::Client;
pub use client::ClientError;
pub use message::Answer;
pub use message::CableStatus;
pub use message::Connection;
pub use message::Direction;
pub use message::LinkState;
pub use message::NhiStatus;
pub use message::Plug;
pub use message::Request;
pub use message::Status;
pub(crate) use server::ControlServer;
