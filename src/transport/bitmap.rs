// SPDX-License-Identifier: GPL-2.0

//! A set of sequence numbers inside a window.

use super::ids::Psn;

/// Largest window, in sequence numbers.
pub const MAX_WINDOW: u32 = 1024;

const WORD_BITS: u32 = u64::BITS;
const WORDS: usize = (MAX_WINDOW / WORD_BITS) as usize;

/// The largest power of two that is not above `most`; one if that is zero.
pub(crate) const fn power_of_two_up_to(most: u32) -> u32 {
    // Not by `ilog2`, which would bring a panic into the kernel that can never happen.
    (most / 2 + 1).next_power_of_two()
}

/// Set of PSNs that lie in one window of a power of two, kept by their low bits.
///
/// # Invariants
///
/// `window` is a power of two in 1..=[`MAX_WINDOW`]; only the first `window` bits are ever set.
#[derive(Clone, Debug)]
pub(crate) struct PsnSet {
    words: [u64; WORDS],
    window: u32,
    count: u32,
}

impl PsnSet {
    /// An empty set for a window whose size is a power of two up to [`MAX_WINDOW`]; any other
    /// size is rounded down to one.
    pub(crate) fn new(window: u32) -> Self {
        // INVARIANT: a power of two in range by construction.
        Self {
            words: [0; WORDS],
            window: power_of_two_up_to(window.min(MAX_WINDOW)),
            count: 0,
        }
    }

    const fn position(&self, psn: Psn) -> u32 {
        psn.get() & (self.window - 1)
    }

    const fn locate(&self, psn: Psn) -> (usize, u64) {
        let position = self.position(psn);
        ((position / WORD_BITS) as usize, 1 << (position % WORD_BITS))
    }

    /// Whether the set has no member.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many members the set has.
    pub(crate) const fn len(&self) -> u32 {
        self.count
    }

    /// Whether `psn` is a member.
    pub(crate) const fn contains(&self, psn: Psn) -> bool {
        let (word, bit) = self.locate(psn);
        self.words[word] & bit != 0
    }

    /// Adds `psn`.
    pub(crate) fn insert(&mut self, psn: Psn) {
        let (word, bit) = self.locate(psn);
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.count += 1;
        }
    }

    /// Takes `psn` out; says whether it was in.
    pub(crate) fn remove(&mut self, psn: Psn) -> bool {
        let (word, bit) = self.locate(psn);
        let was_in = self.words[word] & bit != 0;
        if was_in {
            self.words[word] &= !bit;
            self.count -= 1;
        }
        was_in
    }

    /// The member that comes first when counting up from `base`, the start of the window.
    pub(crate) fn first_from(&self, base: Psn) -> Option<Psn> {
        if self.is_empty() {
            return None;
        }
        let start = self.position(base);
        // A power of two, as the window is.
        let words = self.window.div_ceil(WORD_BITS);
        let first_word = start / WORD_BITS;
        // One round over all words; the word of the start is looked at twice: its high part
        // first, its low part last.
        for step in 0..=words {
            let word = (first_word + step) & (words - 1);
            let mut bits = self.words[word as usize];
            let high_part = u64::MAX << (start % WORD_BITS);
            if step == 0 {
                bits &= high_part;
            } else if step == words {
                bits &= !high_part;
            }
            if bits != 0 {
                let position = word * WORD_BITS + bits.trailing_zeros();
                let ahead = position.wrapping_sub(start) & (self.window - 1);
                return Some(base.add(ahead));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_rounded_down_to() {
        for (most, rounded) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (8, 8)] {
            assert_eq!(power_of_two_up_to(most), rounded);
        }
        assert_eq!(power_of_two_up_to(MAX_WINDOW), MAX_WINDOW);
        assert_eq!(power_of_two_up_to(u32::MAX), 1 << 31);
    }

    #[test]
    fn finds_members_in_window_order() {
        for window in [8, 64, 256, MAX_WINDOW] {
            for base in [0, 5, 63, 64, 200, Psn::MASK - 3] {
                let base = Psn::new(base);
                let mut set = PsnSet::new(window);
                assert_eq!(set.first_from(base), None);
                let members = [0, 1, window / 2, window - 1];
                for &offset in members.iter().rev() {
                    set.insert(base.add(offset));
                }
                for &offset in &members {
                    let psn = base.add(offset);
                    assert_eq!(set.first_from(base), Some(psn));
                    assert!(set.contains(psn));
                    assert!(set.remove(psn));
                    assert!(!set.remove(psn));
                }
                assert!(set.is_empty());
            }
        }
    }
}
