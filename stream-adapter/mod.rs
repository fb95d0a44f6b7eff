// SPDX-License-Identifier: GPL-2.0

//! Rails: an open USB4STREAM as a framed, integrity-checked, restartable pipe.

pub(crate) mod bindings;
pub mod cable;
pub mod client;
pub mod controller;
pub mod counters;
pub mod damaged_reads;
mod ear;
pub(crate) mod open_file;
mod pen;
pub mod rail;
mod reader;
pub(crate) mod remote_hosts;
pub mod stream_file;
pub mod stream_source;
mod supervisor;
mod writer;
