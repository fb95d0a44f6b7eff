// SPDX-License-Identifier: GPL-2.0

//! How many instructions the hosts execute, as a QEMU plugin counts them.

use std::io::Read;
use std::ops::AddAssign;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

/// Executed instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub kernel: u64,
}

impl AddAssign for Instructions {
    fn add_assign(&mut self, other: Self) {
        self.user += other.user;
        self.kernel += other.kernel;
    }
}

impl Instructions {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.user + self.kernel
    }

    /// What `host` of the lab in `directory` has executed so far; none if that is not counted.
    pub fn read(directory: &Path, host: &str) -> Result<Option<Self>> {
        let socket = socket(directory, host);
        if !socket.exists() {
            return Ok(None);
        }
        let read = || -> Result<Self> {
            let mut text = String::new();
            UnixStream::connect(&socket)?.read_to_string(&mut text)?;
            parse(&text).with_context(|| format!("unexpected answer {text:?}"))
        };
        let count = read().with_context(|| format!("instruction counter of {host}"))?;
        Ok(Some(count))
    }
}

/// The counter's answer: user and kernel.
fn parse(text: &str) -> Option<Instructions> {
    let (user, kernel) = text.trim().split_once(' ')?;
    Some(Instructions {
        user: user.parse().ok()?,
        kernel: kernel.parse().ok()?,
    })
}

/// Socket of the counter of `host` below `directory`.
pub fn socket(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("{host}-instructions.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_user_and_kernel() {
        let count = parse("12 30\n").unwrap();
        assert_eq!((count.user, count.kernel), (12, 30));
        assert_eq!(count.total(), 42);
        for wrong in ["", "12", "12 x", "a b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
