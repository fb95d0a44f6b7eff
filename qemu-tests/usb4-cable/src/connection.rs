// SPDX-License-Identifier: GPL-2.0

//! Whether an NHI has a guest.

use serde::Deserialize;
use serde::Serialize;

/// Whether a virtual machine is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// None is.
    #[default]
    Closed,
    /// One is.
    Open,
}
