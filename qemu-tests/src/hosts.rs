// SPDX-License-Identifier: GPL-2.0

//! Hosts and the cables between them: started, given commands, watched, put to sleep and powered off, whatever runs on them.

pub mod accelerator;
pub mod agent;
pub mod attendant;
pub mod cpu_time;
pub mod daemon;
pub mod extent;
pub mod fabric;
pub mod host;
pub mod instance;
pub mod instructions;
pub mod kernel_log;
pub mod placement;
pub mod platform;
pub mod qemu;
pub mod qmp;
pub mod session;
pub mod shape;
pub mod sleep;
pub mod soft_roce;
pub mod stage;
pub mod streams;
pub mod user_mode;
