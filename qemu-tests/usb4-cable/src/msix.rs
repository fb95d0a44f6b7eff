// SPDX-License-Identifier: GPL-2.0

//! The MSI-X table and pending bits, in a BAR of their own.

use crate::nhi::Vector;
use crate::nhi::VECTORS;

/// Bytes of the BAR.
pub const MSIX_BAR_SIZE: usize = 0x1000;

/// Offset of the pending bits; the table is at the beginning.
pub const PENDING_OFFSET: usize = 0x800;

const ENTRY_SIZE: usize = 16;
const TABLE_SIZE: usize = VECTORS * ENTRY_SIZE;
const PENDING_SIZE: usize = size_of::<u64>();
const PENDING_END: usize = PENDING_OFFSET + PENDING_SIZE;
/// Offsets within an entry.
const ADDRESS: usize = 0;
const DATA: usize = 8;
const CONTROL: usize = 12;
const CONTROL_MASKED: u32 = 1 << 0;

/// The memory write that an interrupt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Where the guest wants it.
    pub address: u64,
    /// What is written there.
    pub data: u32,
}

/// The table, and what waits to be sent.
pub struct MsixTable {
    entries: [u8; TABLE_SIZE],
    /// A bit per vector.
    pending: u16,
    /// The vector whose turn it is.
    turn: u8,
}

const _: () = assert!(VECTORS == u16::BITS as usize);

impl MsixTable {
    /// All vectors masked, nothing pending.
    pub fn new() -> Self {
        let mut table = Self {
            entries: [0; TABLE_SIZE],
            pending: 0,
            turn: 0,
        };
        for entry in table.entries.chunks_exact_mut(ENTRY_SIZE) {
            entry[CONTROL..].copy_from_slice(&CONTROL_MASKED.to_le_bytes());
        }
        table
    }

    /// The guest reads the BAR at `offset`. Nothing is there but table and pending bits: the rest reads as zero.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let pending = u64::from(self.pending).to_le_bytes();
        for (position, byte) in (offset..MSIX_BAR_SIZE).zip(data) {
            *byte = match position {
                ..TABLE_SIZE => self.entries[position],
                PENDING_OFFSET..PENDING_END => pending[position - PENDING_OFFSET],
                _ => 0,
            };
        }
    }

    /// The guest writes the BAR at `offset`.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        for (position, byte) in (offset..TABLE_SIZE).zip(data) {
            self.entries[position] = *byte;
        }
    }

    /// Marks `vector` as pending. Returns whether it was not.
    pub fn set_pending(&mut self, vector: Vector) -> bool {
        let before = self.pending;
        self.pending |= 1 << vector.0;
        self.pending != before
    }

    /// The next vector that is pending and not masked, and its message. They take turns.
    pub fn due(&self) -> Option<(Vector, MsiMessage)> {
        (self.turn..VECTORS as u8)
            .chain(0..self.turn)
            .filter(|vector| self.pending >> vector & 1 != 0)
            .map(Vector)
            .find_map(|vector| Some((vector, self.message(vector)?)))
    }

    /// The message of `vector` has been sent.
    pub fn sent(&mut self, vector: Vector) {
        self.pending &= !(1 << vector.0);
        self.turn = (vector.0 + 1) % VECTORS as u8;
    }

    fn message(&self, vector: Vector) -> Option<MsiMessage> {
        let entry = &self.entries[usize::from(vector.0) * ENTRY_SIZE..][..ENTRY_SIZE];
        let dword = |offset: usize| {
            let bytes = entry[offset..].iter().take(size_of::<u32>());
            bytes
                .rev()
                .fold(0, |value, byte| value << u8::BITS | u32::from(*byte))
        };
        (dword(CONTROL) & CONTROL_MASKED == 0).then(|| MsiMessage {
            address: u64::from(dword(ADDRESS)) | u64::from(dword(ADDRESS + 4)) << u32::BITS,
            data: dword(DATA),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: Vector = Vector(3);
    const ENTRY: usize = 3 * ENTRY_SIZE;

    #[test]
    fn pending_until_it_can_be_sent() {
        let mut table = MsixTable::new();
        assert!(table.set_pending(VECTOR));
        assert!(!table.set_pending(VECTOR), "one is as good as two");
        assert_eq!(table.due(), None, "masked");
        let mut pending = [0; 8];
        table.read(PENDING_OFFSET, &mut pending);
        assert_eq!(pending, [8, 0, 0, 0, 0, 0, 0, 0]);
        table.write(ENTRY, &[1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        let message = MsiMessage {
            address: 0x2_0000_0001,
            data: 7,
        };
        assert_eq!(table.due(), Some((VECTOR, message)));
        table.sent(VECTOR);
        assert_eq!(table.due(), None);
    }

    #[test]
    fn vectors_take_turns() {
        let mut table = MsixTable::new();
        table.write(0, &[0; TABLE_SIZE]);
        let mut order = Vec::new();
        for _ in 0..5 {
            for vector in [0, 3, 15] {
                table.set_pending(Vector(vector));
            }
            let (vector, _) = table.due().unwrap();
            table.sent(vector);
            order.push(vector.0);
        }
        assert_eq!(order, [0, 3, 15, 0, 3]);
    }

    #[test]
    fn only_the_table_is_written() {
        let mut table = MsixTable::new();
        table.write(0, &[0xff; 2 * MSIX_BAR_SIZE]);
        table.write(usize::MAX, &[0xff]);
        let mut bar = [1; MSIX_BAR_SIZE];
        table.read(0, &mut bar);
        assert!(bar[..TABLE_SIZE].iter().all(|byte| *byte == 0xff));
        assert!(bar[TABLE_SIZE..].iter().all(|byte| *byte == 0));
        table.read(usize::MAX, &mut bar);
    }
}
