// SPDX-License-Identifier: GPL-2.0

//! Reproducible bytes: any part of an endless sequence can be computed by itself, at both ends.

/// One step of SplitMix64: a bijection that leaves no visible structure (Steele, Lea and Flood, 2014).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Folds several numbers into one, so that tuples give unrelated patterns and work request ids.
pub fn fold(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0, |folded, part| mix(folded ^ mix(*part)))
}

/// An endless sequence of bytes, chosen by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    key: u64,
}

const WORD: usize = size_of::<u64>();

impl Pattern {
    /// The sequence that `parts` stand for.
    pub fn new(parts: &[u64]) -> Self {
        Self { key: fold(parts) }
    }

    fn word(self, index: usize) -> [u8; WORD] {
        mix(self.key.wrapping_add(index as u64)).to_le_bytes()
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: usize, bytes: &mut [u8]) {
        let head = (offset.next_multiple_of(WORD) - offset).min(bytes.len());
        let (head, body) = bytes.split_at_mut(head);
        if !head.is_empty() {
            let start = offset % WORD;
            head.copy_from_slice(&self.word(offset / WORD)[start..start + head.len()]);
        }
        let first = offset.div_ceil(WORD);
        for (index, chunk) in body.chunks_mut(WORD).enumerate() {
            chunk.copy_from_slice(&self.word(first + index)[..chunk.len()]);
        }
    }

    /// `len` bytes from `offset` on.
    pub fn bytes(self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(offset, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_equals_that_part_of_the_whole() {
        let pattern = Pattern::new(&[7, 1]);
        let whole = pattern.bytes(0, 100);
        for offset in 0..40 {
            for len in 0..40 {
                assert_eq!(
                    pattern.bytes(offset, len),
                    whole[offset..offset + len],
                    "{len} bytes at {offset}"
                );
            }
        }
    }

    #[test]
    fn keys_give_different_bytes() {
        let a = Pattern::new(&[1, 2]).bytes(0, 64);
        let b = Pattern::new(&[2, 1]).bytes(0, 64);
        assert_ne!(a, b);
    }

    #[test]
    fn shifted_bytes_differ() {
        let pattern = Pattern::new(&[3]);
        assert_ne!(pattern.bytes(0, 64), pattern.bytes(8, 64));
    }
}
