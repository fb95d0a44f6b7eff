// SPDX-License-Identifier: GPL-2.0

//! A software USB4 cable.
//!
//! Every host gets a USB4 host interface (NHI) and a host router that the unmodified Linux
//! `thunderbolt` driver takes for real ones; cables join their ports, and the hosts meet as
//! XDomains, as two machines with a USB4 cable between them do.

mod attachment;
mod cable;
mod channel;
mod connection;
pub mod control;
mod control_packet;
mod control_server;
pub mod counters;
mod fabric;
#[cfg(test)]
mod fake_guest;
pub mod fault;
mod frame;
mod front_end;
mod guest_memory;
mod hotplug;
mod ids;
mod link;
mod msix;
mod nhi;
mod pci_config;
mod poller;
mod ring_status;
mod router;
mod run;
mod status;
pub mod topology;
mod vfio;
mod vhost;
mod xdomain;

pub use run::run;
pub use run::RunError;
pub use run::Running;
