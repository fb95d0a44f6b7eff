// SPDX-License-Identifier: GPL-2.0

//! Rails: an open USB4STREAM as a framed, integrity-checked, restartable pipe.

pub(crate) mod bindings;
pub mod cable;
pub mod client;
pub mod controller;
pub mod counters;
pub mod damaged_reads;
pub mod frame_batch;
pub mod frame_countdown;
mod frame_writer;
pub(crate) mod open_file;
pub mod quiescer;
pub mod rail;
mod rail_link;
mod rail_state;
pub(crate) mod remote_hosts;
mod rx_thread;
pub mod stream_file;
pub mod stream_path;
pub mod stream_source;
pub mod stream_waiter;
mod supervisor;
mod trace;
mod tx_thread;
