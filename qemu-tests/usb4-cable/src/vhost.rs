// SPDX-License-Identifier: GPL-2.0

//! The vhost-user front end: an NHI as a PCI function of User-Mode Linux, whose `virtio_pcidev` driver does PCI over two
//! virtqueues.
//!
//! Register accesses come in by the command queue, interrupt messages go out by the interrupt queue, and DMA goes to the
//! memory that the guest has shared for both. The thread of the socket sets the queues up; the poller works on them.

#[cfg(test)]
pub(crate) mod fake_driver;
mod function;
mod listener;
mod memory;
mod message;
mod session;
mod vring;

pub use listener::Listener;

#[cfg(test)]
mod tests;
