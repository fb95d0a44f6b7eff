// SPDX-License-Identifier: GPL-2.0

//! A line that a test provokes.

/// Whether an expected line has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Without it the test fails.
    Required,
    /// It may come or not.
    Possible,
    /// It may come or not, and is a warning of a part of the kernel that the test is not about: with all that belongs to it, and what it
    /// leaves the kernel tainted with.
    PossibleWarning,
}

/// A line that a kernel may say although it looks like trouble, because a test provokes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// On which host.
    pub host: String,
    /// A part of the line.
    pub part: String,
    /// Whether it has to come.
    pub presence: Presence,
}
