// SPDX-License-Identifier: GPL-2.0

//! What the lab and the agent in a guest say to each other.

pub mod protocol;
