// SPDX-License-Identifier: GPL-2.0

//! Sets of rails.

use super::ids::RailId;

/// Rails by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RailSet(u16);

impl RailSet {
    /// No rail.
    pub const NONE: Self = Self(0);
    /// All rails.
    pub const ALL: Self = Self(u16::MAX);

    /// The set of one rail.
    pub const fn only(rail: RailId) -> Self {
        Self(1 << rail.index())
    }

    /// Adds a rail.
    pub fn insert(&mut self, rail: RailId) {
        self.0 |= Self::only(rail).0;
    }

    /// Takes a rail out.
    pub fn remove(&mut self, rail: RailId) {
        self.0 &= !Self::only(rail).0;
    }

    /// Whether the rail is in the set.
    pub const fn contains(self, rail: RailId) -> bool {
        self.0 & Self::only(rail).0 != 0
    }

    /// The rails in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The rails that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has no rail.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rails in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = RailId> {
        (0..RailId::COUNT as u8)
            .filter_map(RailId::new)
            .filter(move |&rail| self.contains(rail))
    }

    /// Number of rails in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The rail for a flow with this hash: always the same as long as the set does not change.
    pub fn of_flow(self, hash: u32) -> Option<RailId> {
        // The upper half of the product is evenly spread below `len`.
        let index = (u64::from(hash) * u64::from(self.len())) >> u32::BITS;
        self.iter().nth(index as usize)
    }

    /// The rails whose numbers are the bits of `bits`.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its rails' numbers, as bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The first rail behind `rail` in a circle; that one itself comes last.
    pub fn next_after(self, rail: RailId) -> Option<RailId> {
        let behind = self.iter().find(|next| next.index() > rail.index());
        behind.or_else(|| self.iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u8]) -> RailSet {
        let mut set = RailSet::NONE;
        for rail in numbers.iter().filter_map(|&number| RailId::new(number)) {
            set.insert(rail);
        }
        set
    }

    fn rail(number: u8) -> RailId {
        RailId::new(number).unwrap()
    }

    #[test]
    fn rails_take_turns_in_a_circle() {
        let rails = set(&[1, 4, 15]);
        assert_eq!(rails.next_after(rail(0)), Some(rail(1)));
        assert_eq!(rails.next_after(rail(1)), Some(rail(4)));
        assert_eq!(rails.next_after(rail(4)), Some(rail(15)));
        assert_eq!(rails.next_after(rail(15)), Some(rail(1)));
        assert_eq!(set(&[4]).next_after(rail(4)), Some(rail(4)));
        assert_eq!(RailSet::NONE.next_after(rail(4)), None);
    }

    #[test]
    fn flows_are_spread_over_all_rails_and_keep_theirs() {
        let rails = set(&[1, 4, 15]);
        assert_eq!(rails.of_flow(0), Some(rail(1)));
        assert_eq!(rails.of_flow(u32::MAX / 2), Some(rail(4)));
        assert_eq!(rails.of_flow(u32::MAX), Some(rail(15)));
        assert_eq!(set(&[4]).of_flow(u32::MAX), Some(rail(4)));
        assert_eq!(RailSet::NONE.of_flow(7), None);
        assert_eq!(RailSet::ALL.of_flow(u32::MAX), Some(RailId::LAST));
    }

    #[test]
    fn sets_are_cut_and_subtracted() {
        let rails = set(&[0, 1, 2]);
        assert_eq!(rails.and(set(&[2, 3])), set(&[2]));
        assert_eq!(rails.without(set(&[2, 3])), set(&[0, 1]));
        assert!(rails.without(RailSet::ALL).is_empty());
    }
}
