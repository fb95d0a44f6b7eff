// SPDX-License-Identifier: GPL-2.0

//! What local operations are about.

use crate::verbs::fast_region::Registration;
use crate::verbs::mr::Key;
use crate::verbs::window::BindRequest;

/// What this host is to do for a request.
#[derive(Clone, Copy)]
pub(super) enum LocalWork {
    /// Bind a memory window.
    Bind(BindRequest),
    /// Make a key invalid.
    Invalidate(Key),
    /// Register memory.
    Register(Registration),
}
