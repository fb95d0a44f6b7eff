// SPDX-License-Identifier: GPL-2.0

//! Router config space (`ROUTER_CS_*` in `drivers/thunderbolt/tb_regs.h`).

use crate::ids::NHI_ADAPTER;

/// Vendor and product. Not one of the vendors whose NVM the driver looks for.
const ROUTER_CS_0: usize = 0;
const VENDOR_AND_DEVICE: u32 = 0x0004_1d6b;
/// First capability, upstream adapter, largest adapter number, revision.
const ROUTER_CS_1: usize = 1;
const UPSTREAM_SHIFT: u32 = 8;
const MAX_ADAPTER_SHIFT: u32 = 14;
const REVISION: u32 = 1 << 24;
const ROUTER_CS_3: usize = 3;
const ROUTER_CS_3_VALID: u32 = 1 << 31;
/// USB4 version in the top byte: 2.0.
const ROUTER_CS_4: usize = 4;
const USB4_VERSION_MASK: u32 = 0xff << 24;
const USB4_VERSION_2: u32 = 0x40 << 24;
const ROUTER_CS_5: usize = 5;
const ROUTER_CS_5_SLEEP: u32 = 1 << 0;
const ROUTER_CS_6: usize = 6;
const ROUTER_CS_6_SLEEP_READY: u32 = 1 << 0;
const ROUTER_CS_6_ROUTER_READY: u32 = 1 << 24;
const ROUTER_CS_6_CONFIGURATION_READY: u32 = 1 << 25;
/// Unique ID, low and high half.
const ROUTER_CS_7: usize = 7;
const ROUTER_CS_8: usize = 8;
/// Router operations: opcode, status, "not supported" and "valid".
const ROUTER_CS_26: usize = 26;
const ROUTER_CS_26_OPCODE_MASK: u32 = 0xffff;
const ROUTER_CS_26_NOT_SUPPORTED: u32 = 1 << 30;
const ROUTER_CS_26_VALID: u32 = 1 << 31;
/// Time management unit: the only capability; the driver insists on it.
const TMU: usize = 0x20;
const TMU_ID: u32 = 3 << 8;
const TMU_HEADER_MASK: u32 = 0xffff;
const TMU_UNIDIRECTIONAL: u32 = 1 << 30;
const TMU_DWORDS: usize = 26;

const DWORDS: usize = TMU + TMU_DWORDS;

/// The router's own registers.
pub(super) struct RouterSpace {
    uid: u64,
    registers: [u32; DWORDS],
}

impl RouterSpace {
    pub(super) fn new(uid: u64) -> Self {
        let mut space = Self {
            uid,
            registers: [0; DWORDS],
        };
        space.reset();
        space
    }

    pub(super) fn reset(&mut self) {
        self.registers = [0; DWORDS];
        for (offset, value) in [
            (ROUTER_CS_0, VENDOR_AND_DEVICE),
            (
                ROUTER_CS_1,
                TMU as u32
                    | u32::from(NHI_ADAPTER.0) << UPSTREAM_SHIFT
                    | u32::from(NHI_ADAPTER.0) << MAX_ADAPTER_SHIFT
                    | REVISION,
            ),
            (ROUTER_CS_4, USB4_VERSION_2),
            (
                ROUTER_CS_6,
                ROUTER_CS_6_ROUTER_READY | ROUTER_CS_6_CONFIGURATION_READY,
            ),
            (ROUTER_CS_7, self.uid as u32),
            (ROUTER_CS_8, (self.uid >> u32::BITS) as u32),
            (TMU, TMU_ID | TMU_UNIDIRECTIONAL),
        ] {
            self.registers[offset] = value;
        }
    }

    /// Whether the connection manager has enumerated the router.
    pub(super) fn is_valid(&self) -> bool {
        self.registers[ROUTER_CS_3] & ROUTER_CS_3_VALID != 0
    }

    /// Whether the connection manager has put the router to sleep.
    pub(super) fn is_asleep(&self) -> bool {
        self.registers[ROUTER_CS_5] & ROUTER_CS_5_SLEEP != 0
    }

    /// The router is awake again, with everything as it was.
    pub(super) fn wake(&mut self) {
        self.registers[ROUTER_CS_5] &= !ROUTER_CS_5_SLEEP;
        self.registers[ROUTER_CS_6] &= !ROUTER_CS_6_SLEEP_READY;
    }

    pub(super) fn read(&self, offset: usize) -> Option<u32> {
        self.registers.get(offset).copied()
    }

    /// Writes a register that exists; read-only bits keep their value.
    pub(super) fn write(&mut self, offset: usize, value: u32) {
        let old = self.registers[offset];
        let keep = |fixed: u32| old & fixed | value & !fixed;
        self.registers[offset] = match offset {
            ROUTER_CS_0 | ROUTER_CS_1 | ROUTER_CS_6 | ROUTER_CS_7 | ROUTER_CS_8 => old,
            ROUTER_CS_4 => keep(USB4_VERSION_MASK),
            // No router operation is supported.
            ROUTER_CS_26 if value & ROUTER_CS_26_VALID != 0 => {
                value & ROUTER_CS_26_OPCODE_MASK | ROUTER_CS_26_NOT_SUPPORTED
            }
            TMU => keep(TMU_HEADER_MASK | TMU_UNIDIRECTIONAL),
            _ => value,
        };
        if offset == ROUTER_CS_5 {
            self.registers[ROUTER_CS_6] &= !ROUTER_CS_6_SLEEP_READY;
            if value & ROUTER_CS_5_SLEEP != 0 {
                self.registers[ROUTER_CS_6] |= ROUTER_CS_6_SLEEP_READY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enumeration() {
        let mut space = RouterSpace::new(0x1122_3344_5566_7788);
        assert_eq!(space.read(ROUTER_CS_7), Some(0x5566_7788));
        assert_eq!(space.read(ROUTER_CS_8), Some(0x1122_3344));
        assert!(!space.is_valid());
        space.write(ROUTER_CS_3, ROUTER_CS_3_VALID);
        assert!(space.is_valid());
        space.reset();
        assert!(!space.is_valid());
        assert_eq!(space.read(DWORDS), None);
    }

    #[test]
    fn read_only_bits_stay() {
        let mut space = RouterSpace::new(1);
        for offset in 0..DWORDS {
            space.write(offset, 0);
        }
        let fresh = RouterSpace::new(1);
        for offset in 0..DWORDS {
            assert_eq!(space.read(offset), fresh.read(offset), "CS_{offset}");
        }
    }

    #[test]
    fn router_operations_are_refused() {
        let mut space = RouterSpace::new(1);
        space.write(ROUTER_CS_26, ROUTER_CS_26_VALID | 0x24);
        assert_eq!(
            space.read(ROUTER_CS_26),
            Some(ROUTER_CS_26_NOT_SUPPORTED | 0x24)
        );
    }

    #[test]
    fn sleep_is_granted() {
        let mut space = RouterSpace::new(1);
        let ready = |space: &RouterSpace| space.registers[ROUTER_CS_6] & ROUTER_CS_6_SLEEP_READY;
        space.write(ROUTER_CS_5, ROUTER_CS_5_SLEEP);
        assert_ne!(ready(&space), 0);
        space.write(ROUTER_CS_5, 0);
        assert_eq!(ready(&space), 0);
    }

    #[test]
    fn waking_ends_nothing_but_sleep() {
        let mut space = RouterSpace::new(1);
        space.write(ROUTER_CS_3, ROUTER_CS_3_VALID);
        let before = space.registers;
        space.write(ROUTER_CS_5, ROUTER_CS_5_SLEEP);
        assert!(space.is_asleep());
        space.wake();
        assert!(!space.is_asleep());
        assert_eq!(space.registers, before);
    }
}
