// SPDX-License-Identifier: GPL-2.0

//! The guest agent.

fn main() {}
