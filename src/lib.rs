// SPDX-License-Identifier: GPL-2.0

//! The kernel-free core of `usb4_roce`, built for the host.

#![cfg_attr(not(test), no_std)]

#[path = "../verbs/abi/mod.rs"]
pub mod abi;
pub mod claim;
pub mod log_limit;
pub mod peer_table;
pub mod route_slot;
pub mod transport;
