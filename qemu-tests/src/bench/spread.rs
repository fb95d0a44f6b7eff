// SPDX-License-Identifier: GPL-2.0

//! What repeated measurements say.

use serde::Serialize;

/// Least, median and greatest of some measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle; of an even number, the mean of the two there.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// That of `samples`, if there are any.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let high = *sorted.get(sorted.len() / 2)?;
        let low = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self {
            min,
            median: (low + high) / 2.0,
            max,
        })
    }

    /// In another unit, of which one of its own has `factor`; the factor is positive.
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            min: self.min * factor,
            median: self.median * factor,
            max: self.max * factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_has_one_in_the_middle() {
        let found = Spread::of(&[9.0, 1.0, 5.0]).unwrap();
        assert_eq!((found.min, found.median, found.max), (1.0, 5.0, 9.0));
    }

    #[test]
    fn an_even_number_has_two_in_the_middle() {
        let found = Spread::of(&[9.0, 1.0, 4.0, 5.0]).unwrap();
        assert_eq!((found.min, found.median, found.max), (1.0, 4.5, 9.0));
    }

    #[test]
    fn one_is_all_of_them() {
        let found = Spread::of(&[7.0]).unwrap();
        assert_eq!((found.min, found.median, found.max), (7.0, 7.0, 7.0));
    }

    #[test]
    fn nothing_says_nothing() {
        assert_eq!(Spread::of(&[]), None);
    }
}
