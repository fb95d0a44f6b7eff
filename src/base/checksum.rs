// SPDX-License-Identifier: GPL-2.0

//! The checksums' hash functions, by the kernel's own implementations (`lib/xxhash.c`, `lib/crc/`).

use core::mem::MaybeUninit;

use crate::base::bindings;
use crate::transport::checksum::Algorithm;
use crate::transport::checksum::Checksum;
use crate::transport::checksum::RunningChecksum;
use crate::transport::checksum::Seed;

/// The kernel's xxHash-64 and CRC-32C.
pub struct KernelHash;

impl Checksum for KernelHash {
    type Running = PiecewiseHash;

    fn xxh64(seed: u64, data: &[u8]) -> u64 {
        // SAFETY: A slice is readable for its length.
        unsafe { bindings::xxh64(data.as_ptr().cast(), data.len(), seed) }
    }

    fn crc32c(crc: u32, data: &[u8]) -> u32 {
        // SAFETY: A slice is readable for its length.
        unsafe { bindings::crc32c(crc, data.as_ptr().cast(), data.len()) }
    }
}

/// A checksum of bytes that do not lie in one piece. Equals that of the pieces one after the other.
pub struct PiecewiseHash(State);

/// What the pieces so far have led to.
enum State {
    Xxh64(bindings::xxh64_state),
    Crc32c(u32),
}

impl PiecewiseHash {
    /// Goes on with `len` bytes at `ptr`, which other threads or processes may be writing.
    ///
    /// # Safety
    ///
    /// `ptr` must be readable for `len` bytes.
    pub unsafe fn update_raw(&mut self, ptr: *const u8, len: usize) {
        match &mut self.0 {
            State::Xxh64(state) => {
                // SAFETY: The caller promises that the memory is readable. It fails only when `ptr` is null.
                unsafe { bindings::xxh64_update(state, ptr.cast(), len) };
            }
            State::Crc32c(crc) => {
                // SAFETY: The caller promises that the memory is readable.
                *crc = unsafe { bindings::crc32c(*crc, ptr.cast(), len) };
            }
        }
    }
}

impl RunningChecksum for PiecewiseHash {
    fn new(seed: Seed) -> Self {
        Self(match seed.algorithm() {
            Algorithm::Xxh64 => {
                let mut state = MaybeUninit::uninit();
                // SAFETY: The function writes the whole state.
                unsafe { bindings::xxh64_reset(state.as_mut_ptr(), seed.key()) };
                // SAFETY: As above; any bits are a valid state for Rust.
                State::Xxh64(unsafe { state.assume_init() })
            }
            Algorithm::Crc32c => State::Crc32c(seed.initial_crc()),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        // SAFETY: A slice is readable for its length.
        unsafe { self.update_raw(bytes.as_ptr(), bytes.len()) };
    }

    fn finish(&self) -> u32 {
        match &self.0 {
            // SAFETY: `new` has initialised the state.
            State::Xxh64(state) => Seed::shorten(unsafe { bindings::xxh64_digest(state) }),
            State::Crc32c(crc) => *crc,
        }
    }
}
