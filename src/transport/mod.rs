// SPDX-License-Identifier: GPL-2.0

//! The protocol core: connections over rails, the reliable ones striped.
//!
//! No input or output, no clock, no locks, no allocation, no `unsafe`: the caller moves bytes, tells
//! the time, supplies the tables and serialises the calls. Peers are not trusted: what they send may
//! fail their own connection, and no more.
//!
//! Two levels:
//!
//! - a **rail** ([`rail`]) is one stream. Its frames are numbered and acknowledged; what is lost is
//!   handed back to its owner;
//! - a **queue pair** ([`connection`], made of a [`requester`] and a [`responder`]) numbers the segments of its messages by PSN. A
//!   segment may go over any rail and is sent again over any rail; the responder places segments as they
//!   come and completes messages in order. One with an unreliable connection ([`unreliable`]) uses one rail at a time, and sends
//!   nothing again.
//!
//! Beside these, [`unreliable_datagram`]s are frames of their own that nobody sends again.
//!
//! `wire-format.md` describes what travels.

#![forbid(unsafe_code)]

mod admission;
pub mod attempt;
mod bitmap;
pub mod checksum;
pub mod connection;
mod depth;
mod event_state;
pub mod final_acks;
pub mod frame;
pub mod held;
pub mod ids;
pub mod limits;
mod message_number;
pub mod opcode;
mod open_message;
pub mod outcome;
mod pace;
pub mod packet;
pub mod rail;
pub mod rail_set;
mod refill;
pub mod requester;
pub mod responder;
pub mod scheduler;
mod send_state;
pub mod share;
pub mod status;
pub mod storage;
pub mod timing;
pub mod unreliable;
pub mod unreliable_datagram;

pub use bitmap::MAX_WINDOW;
