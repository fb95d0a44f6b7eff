// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of rails (`usb4_roce:*` in tracefs); `trace.h` says how they are shown.

use kernel::prelude::*;

use super::bindings;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;

/// A rail has got to another state, by its number in `trace.h`.
pub(super) fn rail_state(rail: RailId, name: &CStr, state: u32) {
    // SAFETY: The name is copied.
    unsafe {
        bindings::stream_shim_trace_rail_state(rail.index() as u32, name.as_char_ptr(), state);
    }
}

/// A frame will not arrive.
pub(super) fn frame_lost(rail: RailId, name: &CStr, seq: RailSeq) {
    // SAFETY: The name is copied.
    unsafe {
        bindings::stream_shim_trace_frame_lost(rail.index() as u32, name.as_char_ptr(), seq.0);
    }
}
