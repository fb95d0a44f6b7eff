// SPDX-License-Identifier: GPL-2.0

//! The tensor: what each rank contributes, the sum, and its check.

use std::ops::Range;

use anyhow::bail;
use anyhow::Result;

use crate::pattern::fold;
use crate::pattern::mix;
use crate::verbs::Buffer;

/// Bytes of an element.
pub const ELEMENT: usize = size_of::<f32>();

/// Elements treated at a time.
const STEP: usize = 64 << 10;

/// Bytes added at a time.
const BLOCK: usize = 4096;

/// Ranks whose contributions come from one hash.
const RANKS_PER_HASH: usize = 8;

/// The most ranks whose contributions, integers below 256, sum up exactly in a float32.
pub const MAX_RANKS: usize = (1 << f32::MANTISSA_DIGITS) / 256;

/// What `rank` contributes to `element` in `iteration`: an integer below 256.
fn contribution(rank: usize, element: usize, iteration: usize) -> u8 {
    hash(rank / RANKS_PER_HASH, element, iteration)[rank % RANKS_PER_HASH]
}

fn hash(group: usize, element: usize, iteration: usize) -> [u8; RANKS_PER_HASH] {
    let group = fold(&[iteration as u64, group as u64]);
    mix(group.wrapping_add(element as u64)).to_le_bytes()
}

fn sum(ranks: usize, element: usize, iteration: usize) -> f32 {
    let total: u32 = (0..ranks.div_ceil(RANKS_PER_HASH))
        .flat_map(|group| hash(group, element, iteration))
        .take(ranks)
        .map(u32::from)
        .sum();
    // Exact: below 2 to the number of a float's mantissa bits, by `MAX_RANKS`.
    total as f32
}

fn steps(elements: usize) -> impl Iterator<Item = Range<usize>> {
    (0..elements)
        .step_by(STEP)
        .map(move |start| start..(start + STEP).min(elements))
}

/// Fills the tensor with this rank's contributions.
pub fn fill(buffer: &Buffer, elements: usize, rank: usize, iteration: usize) {
    for step in steps(elements) {
        let offset = step.start * ELEMENT;
        let bytes: Vec<u8> = step
            .flat_map(|element| f32::from(contribution(rank, element, iteration)).to_le_bytes())
            .collect();
        buffer.write(offset, &bytes);
    }
}

/// Checks that every element is the sum over all ranks.
pub fn check(buffer: &Buffer, elements: usize, ranks: usize, iteration: usize) -> Result<()> {
    for step in steps(elements) {
        let bytes = buffer.to_vec(step.start * ELEMENT..step.end * ELEMENT);
        for (element, found) in step.zip(floats(&bytes)) {
            let wanted = sum(ranks, element, iteration);
            if found != wanted {
                bail!(
                    "iteration {iteration}: element {element} is {found}, the sum of {ranks} ranks is {wanted}"
                );
            }
        }
    }
    Ok(())
}

/// Adds the elements at byte `from` of `source` to those at byte `to` of `target`. It takes part in what is measured: it works in the
/// processor's cache and allocates nothing.
pub fn add(target: &Buffer, to: usize, source: &Buffer, from: usize, elements: usize) {
    let (mut sums, mut incoming) = ([0; BLOCK], [0; BLOCK]);
    let bytes = elements * ELEMENT;
    for start in (0..bytes).step_by(BLOCK) {
        let len = BLOCK.min(bytes - start);
        let (sums, incoming) = (&mut sums[..len], &mut incoming[..len]);
        target.read(to + start, sums);
        source.read(from + start, incoming);
        for (sum, addend) in sums.chunks_exact_mut(ELEMENT).zip(floats(incoming)) {
            let own = f32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
            sum.copy_from_slice(&(own + addend).to_le_bytes());
        }
        target.write(to + start, sums);
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes
        .chunks_exact(ELEMENT)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: usize = STEP + 100;

    #[test]
    fn adding_all_ranks_gives_the_sum() {
        let ranks = 11;
        let bytes = ELEMENTS * ELEMENT;
        let total = Buffer::new(bytes).expect("memory");
        let one = Buffer::new(bytes).expect("memory");
        fill(&total, ELEMENTS, 0, 3);
        for rank in 1..ranks {
            fill(&one, ELEMENTS, rank, 3);
            add(&total, 0, &one, 0, ELEMENTS);
        }
        check(&total, ELEMENTS, ranks, 3).expect("the sum");
        assert!(
            check(&total, ELEMENTS, ranks, 4).is_err(),
            "iterations differ"
        );
        total.write(ELEMENT * (ELEMENTS - 1), &0.5f32.to_le_bytes());
        assert!(
            check(&total, ELEMENTS, ranks, 3).is_err(),
            "a wrong element"
        );
    }

    #[test]
    fn the_largest_sum_is_exact() {
        let largest = MAX_RANKS as u32 * 255;
        assert_eq!(largest as f32 as u32, largest);
        assert_eq!((largest - 1) as f32 as u32, largest - 1);
    }
}
