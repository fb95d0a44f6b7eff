// SPDX-License-Identifier: GPL-2.0

//! CRC-32C (Castagnoli) by the kernel's own, hardware-assisted implementation (`lib/crc`).

use kernel::ffi::c_void;

extern "C" {
    // `include/linux/crc32.h`: advances the register; neither pre- nor post-inverts it.
    fn crc32c(crc: u32, p: *const c_void, len: usize) -> u32;
}

/// The register of a CRC-32C in progress.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(u32);

impl State {
    /// The state before the first byte of a plain CRC-32C.
    pub const START: Self = Self(!0);

    /// The state before the first byte of a CRC-32C that also covers a shared secret.
    pub fn seeded(seed: u32) -> Self {
        Self(!seed)
    }

    /// Feeds `bytes`.
    pub fn update(self, bytes: &[u8]) -> Self {
        // SAFETY: A slice is readable for its length.
        unsafe { update_raw(self, bytes.as_ptr(), bytes.len()) }
    }

    /// The checksum of everything fed so far.
    pub fn finish(self) -> u32 {
        !self.0
    }
}

/// Feeds `len` bytes at `ptr`, which other threads or processes may be writing.
///
/// # Safety
///
/// `ptr` must be readable for `len` bytes.
pub unsafe fn update_raw(state: State, ptr: *const u8, len: usize) -> State {
    // SAFETY: The caller promises that the memory is readable; the function has no other demands.
    State(unsafe { crc32c(state.0, ptr.cast(), len) })
}
