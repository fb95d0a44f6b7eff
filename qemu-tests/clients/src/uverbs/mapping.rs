// SPDX-License-Identifier: GPL-2.0

//! Mapped memory that anybody may change at any time.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::libc;

/// A mapping which goes when it is dropped. It is seen through atomics alone, because the kernel, peers and other
/// threads write to it.
pub struct Mapping {
    base: *mut libc::c_void,
    len: usize,
}

// SAFETY: All access is by atomics.
unsafe impl Send for Mapping {}
// SAFETY: All access is by atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Ordinary memory, of this process alone.
    pub fn anonymous(len: usize) -> nix::Result<Self> {
        Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// Ordinary memory that children share.
    pub fn shared(len: usize) -> nix::Result<Self> {
        Self::map(len, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// A part of a file.
    pub fn of_file(fd: i32, len: usize, offset: u64) -> nix::Result<Self> {
        Self::map(len, libc::MAP_SHARED, fd, offset)
    }

    fn map(len: usize, flags: i32, fd: i32, offset: u64) -> nix::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A new mapping at an address that the kernel chooses aliases nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                flags,
                fd,
                offset as libc::off_t,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { base, len })
    }

    /// Its bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes; never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.base as u64
    }

    /// The word at byte `offset`, a multiple of 4 within the mapping.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset % size_of::<u32>() == 0 && offset + size_of::<u32>() <= self.len);
        // SAFETY: In the mapping and aligned, as just checked; all access is atomic.
        unsafe { AtomicU32::from_ptr(self.base.cast::<u8>().add(offset).cast()) }
    }

    /// The double word at byte `offset`, a multiple of 8 within the mapping.
    pub fn double(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % size_of::<u64>() == 0 && offset + size_of::<u64>() <= self.len);
        // SAFETY: In the mapping and aligned, as just checked; all access is atomic.
        unsafe { AtomicU64::from_ptr(self.base.cast::<u8>().add(offset).cast()) }
    }

    /// Stores words from byte `offset` on, as far as there is room.
    pub fn store(&self, offset: usize, words: &[u32]) {
        for (index, word) in words.iter().enumerate() {
            let at = offset + index * size_of::<u32>();
            if at + size_of::<u32>() <= self.len {
                self.word(at).store(*word, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping made in `map`; references to its words have gone with it.
        unsafe { libc::munmap(self.base, self.len) };
    }
}
