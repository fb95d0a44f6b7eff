// SPDX-License-Identifier: GPL-2.0

//! Fixed-offset loads and stores in byte arrays.

/// Loads the bytes at `OFFSET`.
pub(super) fn load_array<const OFFSET: usize, const SIZE: usize, const LEN: usize>(
    bytes: &[u8; LEN],
) -> [u8; SIZE] {
    const { assert!(OFFSET + SIZE <= LEN) };
    let mut field = [0; SIZE];
    field.copy_from_slice(&bytes[OFFSET..OFFSET + SIZE]);
    field
}

/// Loads the `u16` at byte `OFFSET`.
pub(super) fn load_u16<const OFFSET: usize, const LEN: usize>(bytes: &[u8; LEN]) -> u16 {
    u16::from_ne_bytes(load_array::<OFFSET, 2, LEN>(bytes))
}

/// Loads the `u32` at byte `OFFSET`.
pub(super) fn load_u32<const OFFSET: usize, const LEN: usize>(bytes: &[u8; LEN]) -> u32 {
    const { assert!(OFFSET + 4 <= LEN) };
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[OFFSET..OFFSET + 4]);
    u32::from_ne_bytes(field)
}

/// Loads the `u64` at byte `OFFSET`.
pub(super) fn load_u64<const OFFSET: usize, const LEN: usize>(bytes: &[u8; LEN]) -> u64 {
    const { assert!(OFFSET + 8 <= LEN) };
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[OFFSET..OFFSET + 8]);
    u64::from_ne_bytes(field)
}

/// Stores `field` at byte `OFFSET`.
pub(super) fn store<const OFFSET: usize, const SIZE: usize, const LEN: usize>(
    bytes: &mut [u8; LEN],
    field: [u8; SIZE],
) {
    const { assert!(OFFSET + SIZE <= LEN) };
    bytes[OFFSET..OFFSET + SIZE].copy_from_slice(&field);
}
