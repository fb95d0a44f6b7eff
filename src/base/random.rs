// SPDX-License-Identifier: GPL-2.0

//! Random numbers from the kernel's generator.

use kernel::bindings;

/// A random number below `limit`, which must not be zero. All are nearly equally likely.
pub(crate) fn random_below(limit: u32) -> u32 {
    // The high half of the product is the multiply-shift reduction; its bias is below limit / 2^32.
    ((u64::from(random()) * u64::from(limit)) >> u32::BITS) as u32
}

/// Any 32-bit number.
pub(crate) fn random() -> u32 {
    // SAFETY: The function has no requirements.
    unsafe { bindings::get_random_u32() }
}
