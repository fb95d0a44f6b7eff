// SPDX-License-Identifier: GPL-2.0

//! What is fuzzed: each module takes arbitrary bytes as a program for one part of the core, runs it, and
//! panics if a promise is broken.

#[path = "../../support/checksum.rs"]
mod checksum;
pub mod datagram;
pub mod deframer;
pub mod frame;
#[path = "../../support/heap.rs"]
mod heap;
mod host;
pub mod packet;
pub mod rail;
pub mod requester;
pub mod responder;
pub mod unreliable;
pub mod wqe;
