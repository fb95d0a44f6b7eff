// SPDX-License-Identifier: GPL-2.0

//! Which part of the tensor each message of a ring all-reduce carries.
//!
//! The tensor is cut into a chunk per rank. In the first half of the steps sums travel round the ring,
//! in the second half the finished chunks do. Every chunk is cut into the same number of slices, one
//! message each, so that a rank can pass on a slice while the next is still on its way.

use std::ops::Range;

/// What is done with a received slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is added to our own.
    Reduce,
    /// It replaces our own.
    Gather,
}

/// The schedule of one rank.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rank: usize,
    ranks: usize,
    elements: usize,
    slices: usize,
}

impl Schedule {
    /// For `rank` of `ranks` (at least 2), a tensor of `elements`, and messages of `slice_elements` (at
    /// least 1) at most.
    pub fn new(rank: usize, ranks: usize, elements: usize, slice_elements: usize) -> Self {
        let longest = elements.div_ceil(ranks);
        Self {
            rank,
            ranks,
            elements,
            slices: longest.div_ceil(slice_elements).max(1),
        }
    }

    /// Messages that the rank sends, and as many that it receives.
    pub fn messages(&self) -> usize {
        2 * (self.ranks - 1) * self.slices
    }

    fn step(&self, message: usize) -> usize {
        message / self.slices
    }

    /// The phase that a message belongs to.
    pub fn phase(&self, message: usize) -> Phase {
        if self.step(message) < self.ranks - 1 {
            Phase::Reduce
        } else {
            Phase::Gather
        }
    }

    /// The elements that our message number `message` carries.
    pub fn sent(&self, message: usize) -> Range<usize> {
        self.slice_of(self.rank, message)
    }

    /// The elements that message number `message` from the previous rank carries.
    pub fn received(&self, message: usize) -> Range<usize> {
        self.slice_of((self.rank + self.ranks - 1) % self.ranks, message)
    }

    /// The received message that must have been dealt with before message `message` can be sent.
    pub fn sent_after(&self, message: usize) -> Option<usize> {
        message.checked_sub(self.slices)
    }

    /// The sent message that must have completed before message `message` may be received: it is sent
    /// from the same memory.
    pub fn received_after(&self, message: usize) -> Option<usize> {
        message.checked_sub((self.ranks - 1) * self.slices)
    }

    fn slice_of(&self, sender: usize, message: usize) -> Range<usize> {
        let step = self.step(message);
        // In the reduce phase a rank starts with its own chunk and goes backwards; at its end it holds
        // the finished chunk after its own, with which the gather phase starts.
        let chunk = match self.phase(message) {
            Phase::Reduce => sender + self.ranks - step,
            Phase::Gather => sender + 1 + 2 * self.ranks - 1 - step,
        } % self.ranks;
        let chunk = part(0..self.elements, chunk, self.ranks);
        part(chunk, message % self.slices, self.slices)
    }
}

/// Part number `index` of `whole` cut into `parts` of nearly the same length.
fn part(whole: Range<usize>, index: usize, parts: usize) -> Range<usize> {
    let cut = |index: usize| whole.start + whole.len() * index / parts;
    cut(index)..cut(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [(usize, usize, usize); 7] = [
        (2, 16, 4),
        (2, 17, 3),
        (3, 100, 7),
        (4, 1000, 1000),
        (5, 3, 2),
        (8, 1001, 10),
        (2, 1, 1),
    ];

    fn ring(ranks: usize, elements: usize, slice: usize) -> Vec<Schedule> {
        (0..ranks)
            .map(|rank| Schedule::new(rank, ranks, elements, slice))
            .collect()
    }

    /// Runs all ranks in lockstep on sets of contributions: which ranks are in the sum of an element.
    #[test]
    fn every_rank_ends_with_every_contribution_once() {
        for (ranks, elements, slice) in CASES {
            let ring = ring(ranks, elements, slice);
            let mut tensors: Vec<Vec<Vec<u32>>> = (0..ranks)
                .map(|rank| {
                    let mut own = vec![0; ranks];
                    own[rank] = 1;
                    vec![own; elements]
                })
                .collect();
            for message in 0..ring[0].messages() {
                let sent: Vec<Vec<Vec<u32>>> = ring
                    .iter()
                    .zip(&tensors)
                    .map(|(schedule, tensor)| tensor[schedule.sent(message)].to_vec())
                    .collect();
                for (rank, schedule) in ring.iter().enumerate() {
                    let from = (rank + ranks - 1) % ranks;
                    let range = schedule.received(message);
                    assert_eq!(range, ring[from].sent(message));
                    for (element, incoming) in range.zip(&sent[from]) {
                        let own = &mut tensors[rank][element];
                        match schedule.phase(message) {
                            Phase::Gather => *own = incoming.clone(),
                            Phase::Reduce => {
                                own.iter_mut().zip(incoming).for_each(|(a, b)| *a += b);
                            }
                        }
                    }
                }
            }
            for tensor in &tensors {
                assert!(
                    tensor.iter().all(|counts| counts.iter().all(|n| *n == 1)),
                    "{ranks} ranks, {elements} elements, slices of {slice}"
                );
            }
        }
    }

    #[test]
    fn a_message_is_sent_after_the_one_that_brought_its_elements() {
        for (ranks, elements, slice) in CASES {
            for schedule in ring(ranks, elements, slice) {
                for message in 0..schedule.messages() {
                    if let Some(before) = schedule.sent_after(message) {
                        assert_eq!(schedule.sent(message), schedule.received(before));
                    }
                }
            }
        }
    }

    #[test]
    fn a_gathered_slice_waits_for_the_sending_of_its_memory() {
        for (ranks, elements, slice) in CASES {
            for schedule in ring(ranks, elements, slice) {
                for message in 0..schedule.messages() {
                    if schedule.phase(message) == Phase::Gather {
                        let before = schedule.received_after(message).expect("second half");
                        assert_eq!(schedule.received(message), schedule.sent(before));
                    }
                }
            }
        }
    }

    #[test]
    fn slices_are_no_longer_than_asked_for() {
        for (ranks, elements, slice) in CASES {
            for schedule in ring(ranks, elements, slice) {
                for message in 0..schedule.messages() {
                    assert!(schedule.sent(message).len() <= slice);
                }
            }
        }
    }
}
