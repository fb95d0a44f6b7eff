// SPDX-License-Identifier: GPL-2.0

//! xxHash-64 by the kernel's own implementation (`lib/xxhash.c`).

use core::mem::MaybeUninit;

use crate::stream_adapter::bindings;
use crate::transport::checksum::Checksum;
use crate::transport::checksum::Seed;

/// The kernel's xxHash-64.
pub struct KernelHash;

impl Checksum for KernelHash {
    fn xxh64(seed: u64, data: &[u8]) -> u64 {
        // SAFETY: A slice is readable for its length.
        unsafe { bindings::xxh64(data.as_ptr().cast(), data.len(), seed) }
    }
}

/// A checksum of bytes that do not lie in one piece. Equals that of the pieces one after the other.
pub struct PiecewiseHash(bindings::xxh64_state);

impl PiecewiseHash {
    /// The checksum of nothing yet, in the session with this seed.
    pub fn new(seed: Seed) -> Self {
        let mut state = MaybeUninit::uninit();
        // SAFETY: The function writes the whole state.
        unsafe { bindings::xxh64_reset(state.as_mut_ptr(), seed.key()) };
        // SAFETY: As above; any bits are a valid state for Rust.
        Self(unsafe { state.assume_init() })
    }

    /// Goes on with `len` bytes at `ptr`, which other threads or processes may be writing.
    ///
    /// # Safety
    ///
    /// `ptr` must be readable for `len` bytes.
    pub unsafe fn update_raw(&mut self, ptr: *const u8, len: usize) {
        // SAFETY: The caller promises that the memory is readable. It fails only when `ptr` is null.
        unsafe { bindings::xxh64_update(&mut self.0, ptr.cast(), len) };
    }

    /// The checksum of all bytes so far.
    pub fn finish(&self) -> u32 {
        // SAFETY: `new` has initialised the state.
        Seed::shorten(unsafe { bindings::xxh64_digest(&self.0) })
    }
}
