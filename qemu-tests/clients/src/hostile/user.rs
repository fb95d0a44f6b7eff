// SPDX-License-Identifier: GPL-2.0

//! Giving up rights.

use nix::errno::Errno;
use nix::libc;

/// The user without any rights, and its group.
const NOBODY: u32 = 65534;

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Who started it.
    Unchanged,
    /// A user without any rights.
    Nobody,
}

impl User {
    /// Becomes the user, for good.
    pub fn become_it(self) -> nix::Result<()> {
        if self == Self::Unchanged {
            return Ok(());
        }
        // SAFETY: These calls change what the process may do and nothing else.
        unsafe {
            Errno::result(libc::setgroups(0, std::ptr::null()))?;
            Errno::result(libc::setgid(NOBODY))?;
            Errno::result(libc::setuid(NOBODY))?;
            // Changing the user takes this setting back.
            Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        }
        Ok(())
    }
}
