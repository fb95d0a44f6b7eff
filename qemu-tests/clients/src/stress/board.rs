// SPDX-License-Identifier: GPL-2.0

//! What all processes of a host share: what they have, what those of the other host have, and counts.

use std::sync::atomic::Ordering;

use crate::uverbs::Mapping;

use super::operation::Operation;

/// Most processes of a host.
pub const PROCESSES: usize = 8;
/// Queue pairs of a process.
pub const QPS: usize = 8;
/// Regions of a process.
pub const MRS: usize = 6;

/// Words of a process's entry: its queue pairs' numbers, then key and address of each region.
const ENTRY: usize = QPS + MRS * 3;
/// Words of a host's entries.
pub const HOST: usize = PROCESSES * ENTRY;

const WORD: usize = size_of::<u32>();
const STOP: usize = 0;
const EPOCH: usize = 1;
const ENTRIES: usize = 16;
/// Counters, after the entries of both hosts.
const COUNTERS: usize = (ENTRIES + 2 * HOST).next_multiple_of(2);
const WORDS: usize = COUNTERS + Operation::COUNT * 4 + 8;

/// Whose entries are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This host's.
    Own,
    /// The other host's.
    Peer,
}

/// Memory that a process registered, as others address it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its key.
    pub key: u32,
    /// Its address.
    pub address: u64,
}

/// The shared memory. Whoever reads may see halves of what is being written: the kernel must bear that.
pub struct Board {
    memory: Mapping,
}

impl Board {
    /// An empty one, for this process and the children it will have.
    pub fn new() -> nix::Result<Self> {
        Ok(Self {
            memory: Mapping::shared(WORDS * WORD)?,
        })
    }

    fn get(&self, word: usize) -> u32 {
        self.memory.word(word * WORD).load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u32) {
        self.memory
            .word(word * WORD)
            .store(value, Ordering::Relaxed);
    }

    /// Whether all have to end.
    pub fn is_over(&self) -> bool {
        self.get(STOP) != 0
    }

    /// All have to end.
    pub fn end(&self) {
        self.set(STOP, 1);
    }

    /// Counts up now and then, at both hosts alike: who agrees on it agrees on paths.
    pub fn epoch(&self) -> u32 {
        self.get(EPOCH)
    }

    /// Sets the epoch.
    pub fn set_epoch(&self, epoch: u32) {
        self.set(EPOCH, epoch);
    }

    fn entry(side: Side, process: usize) -> usize {
        let host = match side {
            Side::Own => 0,
            Side::Peer => HOST,
        };
        ENTRIES + host + (process % PROCESSES) * ENTRY
    }

    /// The number of a queue pair.
    pub fn number(&self, side: Side, process: usize, qp: usize) -> u32 {
        self.get(Self::entry(side, process) + qp)
    }

    /// Tells the number of a queue pair of this host.
    pub fn tell_number(&self, process: usize, qp: usize, number: u32) {
        self.set(Self::entry(Side::Own, process) + qp, number);
    }

    /// A region.
    pub fn target(&self, side: Side, process: usize, mr: usize) -> Target {
        let at = Self::entry(side, process) + QPS + mr * 3;
        Target {
            key: self.get(at),
            address: u64::from(self.get(at + 1)) | u64::from(self.get(at + 2)) << 32,
        }
    }

    /// Tells of a region of this host.
    pub fn tell_target(&self, process: usize, mr: usize, target: Target) {
        let at = Self::entry(Side::Own, process) + QPS + mr * 3;
        self.set(at, target.key);
        self.set(at + 1, target.address as u32);
        self.set(at + 2, (target.address >> 32) as u32);
    }

    /// What the other host has to know.
    pub fn export(&self) -> Vec<u8> {
        let words =
            std::iter::once(self.epoch()).chain((0..HOST).map(|word| self.get(ENTRIES + word)));
        words.flat_map(u32::to_le_bytes).collect()
    }

    /// Takes in what the other host told, and gives its epoch.
    pub fn import(&self, bytes: &[u8]) -> Option<u32> {
        let mut words = bytes
            .chunks_exact(WORD)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
        let epoch = words.next()?;
        for (index, word) in words.take(HOST).enumerate() {
            self.set(ENTRIES + HOST + index, word);
        }
        Some(epoch)
    }

    /// Counts an operation.
    pub fn count(&self, operation: Operation, outcome: nix::Result<()>) {
        let at = COUNTERS + operation.index() * 4 + if outcome.is_ok() { 0 } else { 2 };
        self.memory
            .double(at * WORD)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// How often an operation succeeded, and was refused.
    pub fn counted(&self, operation: Operation) -> (u64, u64) {
        let at = COUNTERS + operation.index() * 4;
        let read = |at: usize| self.memory.double(at * WORD).load(Ordering::Relaxed);
        (read(at), read(at + 2))
    }

    /// Counts completions, and how many of them were not successes.
    pub fn count_completions(&self, all: u32, failed: u32) {
        let at = COUNTERS + Operation::COUNT * 4;
        let add = |at: usize, value: u32| {
            self.memory
                .double(at * WORD)
                .fetch_add(u64::from(value), Ordering::Relaxed)
        };
        add(at, all);
        add(at + 2, failed);
    }

    /// Completions seen, and how many of them were not successes.
    pub fn completions(&self) -> (u64, u64) {
        let at = COUNTERS + Operation::COUNT * 4;
        let read = |at: usize| self.memory.double(at * WORD).load(Ordering::Relaxed);
        (read(at), read(at + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_host_sees_what_this_one_told() {
        let here = Board::new().expect("shared memory");
        let there = Board::new().expect("shared memory");
        let target = Target {
            key: 7,
            address: 0x7f00_1234_5678,
        };
        here.set_epoch(3);
        here.tell_number(1, 2, 99);
        here.tell_target(PROCESSES - 1, MRS - 1, target);
        assert_eq!(there.import(&here.export()), Some(3));
        assert_eq!(there.number(Side::Peer, 1, 2), 99);
        assert_eq!(there.target(Side::Peer, PROCESSES - 1, MRS - 1), target);
        assert_eq!(there.number(Side::Own, 1, 2), 0);
    }

    #[test]
    fn halves_of_messages_do_no_harm() {
        let board = Board::new().expect("shared memory");
        assert_eq!(board.import(&[1, 2, 3]), None);
        assert!(board.import(&[0; 4 * (HOST + 100)]).is_some());
    }
}
