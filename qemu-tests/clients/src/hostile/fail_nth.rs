// SPDX-License-Identifier: GPL-2.0

//! Making the n-th allocation of a thread fail (`CONFIG_FAULT_INJECTION`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The thread's counter. Its file can be read and written at an offset, but has no position that could be set.
pub struct FailNth {
    file: File,
}

/// How a call met the failing allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// An allocation failed during the call.
    Failure,
    /// The call made so many allocations, fewer than it would have taken.
    Nothing(u64),
}

impl FailNth {
    /// Of the calling thread.
    pub fn open() -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/proc/thread-self/fail-nth")?;
        Ok(Self { file })
    }

    /// Makes the call, of which the `nth` allocation fails, from 1.
    pub fn during<T>(&mut self, nth: u64, call: impl FnOnce() -> T) -> io::Result<(T, Met)> {
        self.set(nth)?;
        let result = call();
        let left = self.get()?;
        self.set(0)?;
        let met = match left {
            0 => Met::Failure,
            left => Met::Nothing(nth - left),
        };
        Ok((result, met))
    }

    fn set(&mut self, value: u64) -> io::Result<()> {
        self.file.write_all_at(value.to_string().as_bytes(), 0)
    }

    fn get(&mut self) -> io::Result<u64> {
        let mut text = [0; 32];
        let len = self.file.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        text.trim().parse().map_err(io::Error::other)
    }
}
