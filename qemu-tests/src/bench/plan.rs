// SPDX-License-Identifier: GPL-2.0

//! What is measured, and how often.

use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the targets need.
    Quick,
    /// All sizes.
    Full,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What is measured, and how often.
pub struct Plan {
    /// Message sizes for bandwidth, in bytes.
    pub bandwidth: Vec<u64>,
    /// Message sizes for latency.
    pub latency: Vec<u64>,
    /// Message sizes for instructions.
    pub cost: Vec<u64>,
    /// Numbers of QPs.
    pub qps: Vec<u32>,
    /// How often each is measured.
    pub repeats: u32,
    /// How long one measurement should take.
    pub goal: Duration,
    /// How often each is measured over capped cables.
    pub capped_repeats: u32,
    /// How long one measurement over capped cables should take.
    pub capped_goal: Duration,
}

impl Plan {
    /// The plan of this extent.
    pub fn new(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self {
                bandwidth: vec![64, 64 * KIB, MIB],
                latency: vec![64],
                cost: vec![64, 64 * KIB, MIB],
                qps: vec![1],
                repeats: 3,
                goal: Duration::from_secs(1),
                capped_repeats: 1,
                capped_goal: Duration::from_secs(5),
            },
            Extent::Full => Self {
                bandwidth: vec![64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB, 4 * MIB],
                latency: vec![64, 4 * KIB],
                cost: vec![64, 4 * KIB, 64 * KIB, MIB],
                qps: vec![1, 4],
                repeats: 2,
                goal: Duration::from_secs(1),
                capped_repeats: 2,
                capped_goal: Duration::from_secs(5),
            },
        }
    }
}
