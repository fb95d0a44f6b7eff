// SPDX-License-Identifier: GPL-2.0

//! A software USB4 cable.
//!
//! Every host gets a USB4 host interface (NHI) and a host router that the unmodified Linux
//! `thunderbolt` driver takes for real ones; cables join their ports, and the hosts meet as
//! XDomains, as two machines with a USB4 cable between them do.

pub mod control;
pub mod counters;
pub mod fault;
pub mod topology;
