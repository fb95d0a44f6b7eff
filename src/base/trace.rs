// SPDX-License-Identifier: GPL-2.0

//! Tracepoints, which the C shims define.

/// Whether somebody watches the tracepoint of that name. Nobody usually does: then this costs one instruction that does nothing.
macro_rules! is_watched {
    ($tracepoint:ident) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        {
            #[allow(improper_ctypes, reason = "the kernel crate's declaration of it")]
            extern "C" {
                static $tracepoint: ::kernel::bindings::tracepoint;
            }
            // SAFETY: A shim defines it by `TRACE_EVENT`, and so with a key.
            unsafe {
                ::kernel::jump_label::static_branch_unlikely!(
                    $tracepoint,
                    ::kernel::bindings::tracepoint,
                    key
                )
            }
        }
        #[cfg(not(CONFIG_TRACEPOINTS))]
        false
    }};
}

pub(crate) use is_watched;
