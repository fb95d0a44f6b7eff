// SPDX-License-Identifier: GPL-2.0

//! In which order things are measured.

/// `all`, in the order of repeat number `repeat`: there and back by turns. What a machine that becomes faster or slower does to those that
/// come first in one repeat, it does in the next to those that come last.
pub fn in_turn<T>(all: &[T], repeat: u32) -> impl Iterator<Item = &T> {
    let (mut forth, mut back) = (all.iter(), all.iter().rev());
    std::iter::from_fn(move || match repeat % 2 {
        0 => forth.next(),
        _ => back.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_repeat_goes_backwards() {
        let order = |repeat| in_turn(&[1, 2, 3], repeat).copied().collect::<Vec<_>>();
        assert_eq!(order(0), [1, 2, 3]);
        assert_eq!(order(1), [3, 2, 1]);
        assert_eq!(order(2), [1, 2, 3]);
    }

    #[test]
    fn over_two_repeats_all_come_as_early() {
        let all = [0, 1, 2, 3, 4];
        for item in all {
            let place = |repeat| in_turn(&all, repeat).position(|found| *found == item);
            let places = place(0).unwrap() + place(1).unwrap();
            assert_eq!(places, all.len() - 1, "{item}");
        }
    }
}
