// SPDX-License-Identifier: GPL-2.0

//! What the benchmark consists of.

/// A part of the benchmark, with a lab of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// How fast messages are, over cables as fast as the emulation and over capped ones.
    Speed,
    /// Goodput over cables whose rings are capped.
    Rings,
    /// What hosts take that have nothing to do.
    Idle,
    /// Disks and files of another host.
    Storage,
    /// Instructions of a message.
    Cost,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Speed,
        Self::Rings,
        Self::Idle,
        Self::Storage,
        Self::Cost,
    ];
}
