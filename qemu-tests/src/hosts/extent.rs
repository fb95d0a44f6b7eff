// SPDX-License-Identifier: GPL-2.0

//! How long tests that could go on for ever go on.

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What fits into a run of everything.
    Short,
    /// As much as makes sense.
    Long,
}
