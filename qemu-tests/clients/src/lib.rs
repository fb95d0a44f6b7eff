// SPDX-License-Identifier: GPL-2.0

//! Programs that check a verbs device from user space, through the distribution's libibverbs.

pub mod allreduce;
pub mod bootstrap;
pub mod cli;
pub mod endpoint;
pub mod errors;
pub mod flow;
pub mod pattern;
pub mod verbs;
pub mod verify;
