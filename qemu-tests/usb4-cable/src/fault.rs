// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with one direction of a cable.

mod injector;

pub use injector::Admission;
pub use injector::Damage;
pub use injector::Fate;
pub use injector::Injector;

use std::num::NonZeroU32;
use std::num::NonZeroU64;

use serde::Deserialize;
use serde::Serialize;

/// The faults of one direction of a cable. The default is a perfect cable.
///
/// Everything random is drawn from a generator seeded with [`seed`](Self::seed) when the faults
/// are set, per frame in the order of the frames, so that a run can be repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Rate cap in bytes of frame payload per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU64>,
    /// Rate cap of each path, and so of the transmit ring that feeds it, in bytes of frame payload per second. It stands
    /// for what one ring of a controller moves at most, as [`rate`](Self::rate) stands for the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_rate: Option<NonZeroU64>,
    /// Added delay in microseconds. The sender's descriptor completes when the frame enters the
    /// cable, as in hardware.
    pub latency_us: u32,
    /// One frame in about so many arrives with bytes flipped and the CRC error flag set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt_one_in: Option<NonZeroU32>,
    /// One frame in about so many is lost although flow control admitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lose_one_in: Option<NonZeroU32>,
    /// One frame in about so many is written to the receiver's memory but not signalled before
    /// the next frame arrives on the same ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_interrupt_one_in: Option<NonZeroU32>,
    /// Whether frames move at all.
    pub flow: Flow,
    /// Seed of the random choices.
    pub seed: u64,
}

/// Whether frames move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// They do.
    #[default]
    Moving,
    /// Nothing moves, and the link does not notice: senders stall once their rings are full.
    /// Control packets still pass.
    Stalled,
}
