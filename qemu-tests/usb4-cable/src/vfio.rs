// SPDX-License-Identifier: GPL-2.0

//! The vfio-user front end: an NHI as a PCI function of a QEMU `vfio-user-pci` device.

mod backend;
mod eventfd;
mod region;
mod server;

pub use server::Listener;
