// SPDX-License-Identifier: GPL-2.0

//! State of a cable and its link.

use serde::Deserialize;
use serde::Serialize;

/// A direction of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From end `a` of the cable to end `b`.
    AToB,
    /// From end `b` of the cable to end `a`.
    BToA,
}

/// Whether a cable is plugged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plug {
    /// At both ends.
    #[default]
    Plugged,
    /// At neither end.
    Unplugged,
}

/// Whether a link carries anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// It does not.
    #[default]
    Down,
    /// It does.
    Up,
}
