// SPDX-License-Identifier: GPL-2.0

//! Path config space: where a packet that enters an adapter leaves the router
//! (`struct tb_regs_hop` in `drivers/thunderbolt/tb_regs.h`).

use crate::ids::AdapterNumber;
use crate::ids::HopId;
use crate::ids::RINGS;

/// Dwords of an entry.
const ENTRY_DWORDS: usize = 2;
const NEXT_HOP_MASK: u32 = 0x7ff;
const OUT_ADAPTER_SHIFT: u32 = 11;
const OUT_ADAPTER_MASK: u32 = 0x3f;
const ENABLE: u32 = 1 << 31;
/// In the second dword: packets of a disabled path still on the way. There never are any, a
/// frame is forwarded whole while the register cannot be read.
const PENDING: u32 = 1 << 28;
/// Credits of the control path, entry 0 of a lane adapter.
const CONTROL_CREDITS: u32 = 2 << 17;

/// Largest HopID an adapter takes.
pub(super) const MAX_HOP: u32 = RINGS as u32 - 1;

/// An entry of a path table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathEntry([u32; ENTRY_DWORDS]);

impl PathEntry {
    /// Whether packets take the path.
    pub fn is_enabled(self) -> bool {
        self.0[0] & ENABLE != 0
    }

    /// The adapter through which they leave.
    pub fn out_adapter(self) -> AdapterNumber {
        AdapterNumber((self.0[0] >> OUT_ADAPTER_SHIFT & OUT_ADAPTER_MASK) as u8)
    }

    /// The HopID with which they leave.
    pub fn next_hop(self) -> HopId {
        HopId((self.0[0] & NEXT_HOP_MASK) as u16)
    }
}

/// The path table of an adapter.
pub(super) struct PathTable {
    entries: [PathEntry; RINGS],
}

impl PathTable {
    pub(super) fn new() -> Self {
        let mut entries = [PathEntry::default(); RINGS];
        entries[0].0[0] = CONTROL_CREDITS;
        Self { entries }
    }

    pub(super) fn get(&self, hop: HopId) -> Option<PathEntry> {
        self.entries.get(usize::from(hop.0)).copied()
    }

    pub(super) fn read(&self, offset: usize) -> Option<u32> {
        let entry = self.entries.get(offset / ENTRY_DWORDS)?;
        Some(entry.0[offset % ENTRY_DWORDS])
    }

    /// Writes a dword that exists.
    pub(super) fn write(&mut self, offset: usize, value: u32) {
        let writable = match offset % ENTRY_DWORDS {
            0 => value,
            _ => value & !PENDING,
        };
        self.entries[offset / ENTRY_DWORDS].0[offset % ENTRY_DWORDS] = writable;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let mut table = PathTable::new();
        let hop = HopId(8);
        assert!(!table.get(hop).unwrap().is_enabled());
        table.write(16, ENABLE | 5 << OUT_ADAPTER_SHIFT | 9);
        table.write(17, u32::MAX);
        let entry = table.get(hop).unwrap();
        assert!(entry.is_enabled());
        assert_eq!(entry.out_adapter(), AdapterNumber(5));
        assert_eq!(entry.next_hop(), HopId(9));
        assert_eq!(table.read(17), Some(!PENDING));
        assert_eq!(table.get(HopId(RINGS as u16)), None);
        assert_eq!(table.read(2 * RINGS), None);
    }
}
