// SPDX-License-Identifier: GPL-2.0

//! Tracepoints, which the C shims define. `kernel::declare_trace!` would look for them in the kernel crate's bindings.

/// Whether somebody may watch the tracepoint of that name. Nobody usually does: then this costs one instruction that does nothing.
///
/// Where the kernel's headers lack what that takes (see `Kbuild`), it is left to the shim to find out.
macro_rules! is_watched {
    ($tracepoint:ident) => {{
        #[cfg(all(CONFIG_TRACEPOINTS, HAS_STATIC_BRANCH))]
        {
            #[allow(
                improper_ctypes,
                reason = "C defines the type, and only its key is looked at"
            )]
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
        #[cfg(not(all(CONFIG_TRACEPOINTS, HAS_STATIC_BRANCH)))]
        {
            cfg!(CONFIG_TRACEPOINTS)
        }
    }};
}

pub(crate) use is_watched;
