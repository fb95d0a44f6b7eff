// SPDX-License-Identifier: GPL-2.0

//! Why memory cannot be accessed.

use crate::verbs::memory_key::AccessDenied;

/// Why the pages of a range cannot be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The access is not allowed.
    Denied,
    /// The region's pages are found on demand: it can only be copied from and to, see `Pieces`.
    OnDemand,
}

impl From<AccessDenied> for Unresolved {
    fn from(AccessDenied: AccessDenied) -> Self {
        Self::Denied
    }
}

/// Why copying from or to a region has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The access is not allowed.
    Denied,
    /// A page is not present, or the thread may not look for it.
    Absent,
}

impl From<AccessDenied> for Stop {
    fn from(AccessDenied: AccessDenied) -> Self {
        Self::Denied
    }
}
