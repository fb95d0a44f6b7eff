// SPDX-License-Identifier: GPL-2.0

//! Making the n-th allocation of a thread fail (`CONFIG_FAULT_INJECTION`).

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;

/// The thread's counter.
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
        self.file.rewind()?;
        self.file.write_all(value.to_string().as_bytes())
    }

    fn get(&mut self) -> io::Result<u64> {
        let mut text = [0; 32];
        self.file.rewind()?;
        let len = self.file.read(&mut text)?;
        let text = String::from_utf8_lossy(&text[..len]);
        text.trim().parse().map_err(io::Error::other)
    }
}
