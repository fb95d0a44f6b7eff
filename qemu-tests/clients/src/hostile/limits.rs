// SPDX-License-Identifier: GPL-2.0

//! Limits of a process's resources.

use nix::errno::Errno;
use nix::libc;

/// Sets a limit, for good.
pub fn set(resource: libc::__rlimit_resource_t, limit: u64) -> nix::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: The structure is valid for the read.
    Errno::result(unsafe { libc::setrlimit(resource, &limit) }).map(drop)
}
