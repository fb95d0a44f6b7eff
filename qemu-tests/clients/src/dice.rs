// SPDX-License-Identifier: GPL-2.0

//! Seeded choices.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::pattern::fold;

/// What decides.
pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// Dice which fall the same way for the same numbers.
    pub fn new(parts: &[u64]) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(fold(parts)),
        }
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Any number.
    pub fn word(&mut self) -> u32 {
        self.rng.random()
    }

    /// Any number.
    pub fn double(&mut self) -> u64 {
        self.rng.random()
    }

    /// One of `choices`, which are not none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// One of `choices`, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.rng.random_range(0..total);
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        choices[choices.len() - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way() {
        let fall = |seed| {
            let mut dice = Dice::new(&[seed]);
            [0; 8].map(|_: i32| dice.word())
        };
        assert_eq!(fall(1), fall(1));
        assert_ne!(fall(1), fall(2));
    }

    #[test]
    fn weights_of_nothing_are_never_chosen() {
        let mut dice = Dice::new(&[1]);
        assert!((0..1000).all(|_| dice.weighted(&[(0, 'a'), (3, 'b')]) == 'b'));
    }
}
