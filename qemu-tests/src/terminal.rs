// SPDX-License-Identifier: GPL-2.0

//! What a user sees and types.

pub mod cli;
pub mod demo;
pub mod shell;
pub mod table;
