// SPDX-License-Identifier: GPL-2.0

//! Exit statuses.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well, or what was asked for is done.
    Well,
    /// Something is wrong with the host.
    Fault,
    /// It cannot be told, or the program was called in a way that makes no sense. The parser of arguments uses the same number.
    CannotTell,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::Fault => 1,
            Exit::CannotTell => 2,
        })
    }
}
