// SPDX-License-Identifier: GPL-2.0

//! Processes that mean harm: to the kernel, to other processes and to other hosts.

pub mod exhaust;
pub mod fail_nth;
pub mod fuzz;
pub mod grammar;
pub mod limits;
pub mod set_up;
pub mod user;
