// SPDX-License-Identifier: GPL-2.0

//! CRC-32 by the kernel's own, hardware-assisted implementation (`lib/crc`).

use crate::stream_adapter::bindings;
use crate::transport::checksum::Checksum;

/// The kernel's CRC-32.
pub struct KernelCrc;

impl Checksum for KernelCrc {
    fn crc32(state: u32, data: &[u8]) -> u32 {
        // SAFETY: A slice is readable for its length.
        unsafe { update_raw(state, data.as_ptr(), data.len()) }
    }
}

/// Feeds `len` bytes at `ptr`, which other threads or processes may be writing, to a CRC whose state is
/// `state`, without any inversion, and returns the new state.
///
/// # Safety
///
/// `ptr` must be readable for `len` bytes.
pub unsafe fn update_raw(state: u32, ptr: *const u8, len: usize) -> u32 {
    // SAFETY: The caller promises that the memory is readable; the function has no other demands.
    unsafe { bindings::crc32_le(state, ptr.cast(), len) }
}
