// SPDX-License-Identifier: GPL-2.0

//! Helpers on top of the kernel's own, for all above. Of the protocol they know what they have to do with bytes and time:
//! lengths of frames, checksums, instants; nothing of queue pairs, RDMA objects or rails.

pub(crate) mod bindings;
pub mod bounce_buffer;
pub mod checksum;
pub mod clock;
pub mod cpu_latency;
pub(crate) mod debug_file;
pub(crate) mod delayed_work;
pub mod event;
pub(crate) mod irq_lock;
pub mod kernel_tables;
pub mod kthread;
pub mod lending_buffer;
pub mod log_limit;
pub(crate) mod notifier;
pub(crate) mod number_table;
pub mod page_vec;
pub(crate) mod page_word;
pub(crate) mod random;
pub(crate) mod revocable;
pub(crate) mod sleep_notice;
pub(crate) mod workers;
