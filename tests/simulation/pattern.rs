// SPDX-License-Identifier: GPL-2.0

//! Contents of messages: every byte is known from the message's tag and its offset.

fn word(tag: u64, index: u64) -> u64 {
    let mut x = tag ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Bytes `offset..offset + len` of the contents with this tag.
pub fn bytes(tag: u64, offset: u32, len: u32) -> Vec<u8> {
    let first = u64::from(offset) / 8;
    let last = (u64::from(offset) + u64::from(len)).div_ceil(8);
    let mut all = Vec::with_capacity((last - first) as usize * 8);
    for index in first..last {
        all.extend_from_slice(&word(tag, index).to_le_bytes());
    }
    all.drain(..offset as usize % 8);
    all.truncate(len as usize);
    all
}
