// SPDX-License-Identifier: GPL-2.0

//! Addresses that accesses to memory name bytes by.

/// The addresses of a region's bytes, or of a window's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressRange {
    /// Of the first byte.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) length: u64,
}

impl AddressRange {
    /// How many bytes of the range are before the `len` bytes at `address`. `None` if not all of these are in the range.
    pub(crate) fn offset_of(&self, address: u64, len: u64) -> Option<u64> {
        let offset = address.checked_sub(self.start)?;
        let end = offset.checked_add(len)?;
        (end <= self.length).then_some(offset)
    }
}
