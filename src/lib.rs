// SPDX-License-Identifier: GPL-2.0

//! The kernel-free core of `usb4_roce`, built for the host.

#![cfg_attr(not(test), no_std)]

pub mod transport;

/// What of the base needs no kernel.
pub mod base {
    pub mod log_limit;
}

/// What of the fabric needs no kernel.
pub mod fabric {
    pub mod claim;
    pub mod peer_table;
}

/// What of the verbs layer needs no kernel.
#[path = "../verbs"]
pub mod verbs {
    pub mod abi;
    pub mod route_slot;
}
