// SPDX-License-Identifier: GPL-2.0

//! What a process writes over a queue that it shares with the kernel.

use std::sync::atomic::Ordering;

use crate::dice::Dice;
use crate::uverbs::Mapping;

/// Words of the header that mean something: geometry, producer, consumer.
const HEADER: [usize; 4] = [0, 4, 128, 256];
/// Where the slots begin.
const SLOTS: usize = 384;
/// Fields of a send WQE that lengths and counts are in: opcode, flags, inline length, number of elements.
const SEND_FIELDS: [usize; 4] = [12, 16, 184, 196];
/// The same of a receive WQE.
const RECEIVE_FIELDS: [usize; 2] = [16, 28];
/// Sizes that slots may have.
const ELEMENT_SIZES: [usize; 4] = [64, 128, 256, 512];

/// A number that somebody may trip over.
fn awkward(dice: &mut Dice, now: u32) -> u32 {
    match dice.below(8) {
        0 => 0,
        1 => u32::MAX,
        2 => 1 << 31,
        3 => now.wrapping_add(1),
        4 => now.wrapping_sub(1),
        5 => 1 << dice.below(32),
        6 => dice.below(40) as u32,
        _ => dice.word(),
    }
}

/// Writes something over `queue`.
pub fn over(queue: &Mapping, dice: &mut Dice) {
    const WORD: usize = size_of::<u32>();
    let slots = queue.len().saturating_sub(SLOTS).max(WORD);
    let at = match dice.below(6) {
        0..=2 => dice.pick(&HEADER),
        3 => {
            let size = dice.pick(&ELEMENT_SIZES);
            SLOTS + dice.below(slots.div_ceil(size)) * size + dice.pick(&SEND_FIELDS)
        }
        4 => {
            let size = dice.pick(&ELEMENT_SIZES);
            SLOTS + dice.below(slots.div_ceil(size)) * size + dice.pick(&RECEIVE_FIELDS)
        }
        _ => dice.below(queue.len() / WORD) * WORD,
    };
    if at + WORD > queue.len() {
        return;
    }
    let word = queue.word(at);
    let now = word.load(Ordering::Relaxed);
    word.store(awkward(dice, now), Ordering::Relaxed);
}
