// SPDX-License-Identifier: GPL-2.0

//! A seeded random mix of RDMA operations in both directions of which every byte and every
//! completion is checked.
//!
//! Both ends derive the same plan from the seed. Per round each end posts its operations of all
//! queue pairs, waits for all completions, and then compares all of its memory, guard bands
//! included, with the image that the plan predicts.

pub mod large;
mod link;
pub mod plan;
pub mod progress;
pub mod region;
mod session;
pub mod settings;
pub mod setup;
pub mod tally;
pub mod tiled;
