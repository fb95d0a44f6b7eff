// SPDX-License-Identifier: GPL-2.0

//! Programs that check a verbs device from user space: through the distribution's libibverbs, and, where they misuse
//! it on purpose, through the kernel's own interface.

pub mod allreduce;
pub mod atomics;
pub mod bootstrap;
pub mod child;
pub mod cli;
pub mod datagrams;
pub mod dice;
pub mod endpoint;
pub mod errors;
pub mod flow;
pub mod hostile;
pub mod paging;
pub mod pattern;
pub mod placement;
pub mod stress;
pub mod stuck;
pub mod unreliable;
pub mod uverbs;
pub mod verbs;
pub mod verify;
pub mod victim;
