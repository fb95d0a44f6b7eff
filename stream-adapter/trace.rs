// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of rails (`usb4_roce:*` in tracefs); `trace.h` says how they are shown.

use kernel::prelude::*;

use super::bindings;
use super::rail_state::State;
use crate::base::trace::is_watched;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;

/// A rail has got to another state.
#[inline(always)]
pub(super) fn rail_state(rail: RailId, name: &CStr, state: State) {
    if is_watched!(__tracepoint_usb4_roce_rail_state) {
        let state = match state {
            State::Detached => 0,
            State::Removed => 1,
            State::Failed(_) => 2,
            State::Greeting => 3,
            State::Up => 4,
            State::Closing => 5,
        };
        // SAFETY: The name is copied.
        unsafe {
            bindings::stream_shim_trace_rail_state(rail.index() as u32, name.as_char_ptr(), state);
        }
    }
}

/// A frame will not arrive.
#[inline(always)]
pub(super) fn frame_lost(rail: RailId, name: &CStr, seq: RailSeq) {
    if is_watched!(__tracepoint_usb4_roce_frame_lost) {
        // SAFETY: The name is copied.
        unsafe {
            bindings::stream_shim_trace_frame_lost(rail.index() as u32, name.as_char_ptr(), seq.0);
        }
    }
}
