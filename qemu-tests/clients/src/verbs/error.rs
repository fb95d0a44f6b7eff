// SPDX-License-Identifier: GPL-2.0

//! What a failed library call tells.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A verbs call that failed, with its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    errno: Errno,
}

/// The result of a verbs call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn new(call: &'static str, errno: i32) -> Self {
        Self {
            call,
            errno: Errno::from_raw(errno),
        }
    }

    /// For calls that return a null pointer and set errno.
    pub(super) fn last(call: &'static str) -> Self {
        Self::new(call, io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The reason.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)
    }
}

impl std::error::Error for Error {}

/// Calls of this library return 0, or an errno (some of them negated), or -1 with errno set.
pub(super) fn check(call: &'static str, returned: i32) -> Result<()> {
    match returned {
        0 => Ok(()),
        -1 => Err(Error::last(call)),
        code => Err(Error::new(call, code.abs())),
    }
}

/// Reports an object that the kernel refused to destroy: a leak, and a fault of the caller or the
/// driver, but nothing that a destructor can return.
pub(super) fn report_leak(call: &'static str, returned: i32) {
    if let Err(error) = check(call, returned) {
        eprintln!("leaked a verbs object: {error}");
    }
}

/// A list of work requests of which one was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostError {
    /// Index in the list of the first request that was not posted.
    pub index: usize,
    /// Why.
    pub error: Error,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at request {} of the list)", self.error, self.index)
    }
}

impl std::error::Error for PostError {}
