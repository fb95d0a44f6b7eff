// SPDX-License-Identifier: GPL-2.0

//! Adapter config spaces: lane adapters and the NHI adapter (`ADP_CS_*`, `LANE_ADP_CS_*` and
//! `PORT_CS_*` in `drivers/thunderbolt/tb_regs.h`).

use super::path::MAX_HOP;
use crate::ids::AdapterNumber;
use crate::ids::PortNumber;
use crate::ids::NHI_ADAPTER;
use crate::link::LinkState;
use crate::topology::LinkSpeed;

const ADP_CS_0: usize = 0;
const VENDOR_AND_DEVICE: u32 = 0x0004_1d6b;
/// First capability.
const ADP_CS_1: usize = 1;
/// Type and version.
const ADP_CS_2: usize = 2;
const TYPE_LANE: u32 = 1;
const TYPE_NHI: u32 = 2;
const USB4_VERSION_2: u32 = 0x40 << 24;
const ADP_CS_3: usize = 3;
const NUMBER_SHIFT: u32 = 20;
/// Credits, non flow controlled and in total.
const ADP_CS_4: usize = 4;
const NFC_CREDITS_MASK: u32 = 0x3ff;
const TOTAL_CREDITS: u32 = 120 << 20;
/// Largest HopIDs, in and out, and "disable hotplug events".
const ADP_CS_5: usize = 5;
const MAX_HOPS: u32 = MAX_HOP | MAX_HOP << 11;
const MAX_HOPS_MASK: u32 = 0x3f_ffff;
const DISABLE_HOTPLUG: u32 = 1 << 31;

/// Lane adapter capability.
const LANE: usize = 0x08;
const LANE_ID: u32 = 1 << 8;
const SUPPORTED_SPEED_SHIFT: u32 = 16;
const SUPPORTED_WIDTH_SHIFT: u32 = 20;
const SUPPORTED_WIDTHS: u32 = 3;
const LANE_CS_1: usize = LANE + 1;
/// Target speed and width, power states, "disable", "bond".
const LANE_CS_1_WRITABLE: u32 = 0x4000_ffff;
const TARGET_WIDTH_SHIFT: u32 = 4;
const TARGET_WIDTH_MASK: u32 = 3;
const TARGET_WIDTH_DUAL: u32 = 3;
const BOND: u32 = 1 << 15;
const CURRENT_SPEED_SHIFT: u32 = 16;
const CURRENT_WIDTH_SHIFT: u32 = 20;
const CURRENT_WIDTH_MASK: u32 = 0x3f << CURRENT_WIDTH_SHIFT;
const STATE_SHIFT: u32 = 26;
const STATE_MASK: u32 = 0xf << STATE_SHIFT;
const STATE_UP: u32 = 2;
const STATE_UNPLUGGED: u32 = 7;

/// Bits of a link speed, in masks as in values.
const GEN_2: u32 = 8;
const GEN_3: u32 = 4;
const GEN_4: u32 = 2;

/// USB4 port capability, on the first lane only.
const USB4: usize = 0x10;
const USB4_ID: u32 = 6 << 8;
/// Sideband access.
const USB4_CS_1: usize = USB4 + 1;
const SIDEBAND_PENDING: u32 = 1 << 31;
const SIDEBAND_NO_RESPONSE: u32 = 1 << 25;
/// Status.
const USB4_CS_18: usize = USB4 + 18;

/// Time management unit capability.
const TMU: usize = 0x28;
const TMU_ID: u32 = 3 << 8;

const DWORDS: usize = 0x40;

/// How many lanes a link uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneWidth {
    /// One; the other idles.
    Single,
    /// Both, bonded.
    Dual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Adapter 0 and whatever is not implemented.
    Inactive,
    /// A lane of a port; the first one has the port's capability too.
    Lane0,
    Lane1,
    Nhi,
}

/// An adapter's registers.
pub(super) struct Adapter {
    number: AdapterNumber,
    kind: Kind,
    speed: LinkSpeed,
    registers: [u32; DWORDS],
}

impl Adapter {
    pub(super) fn new(number: AdapterNumber) -> Self {
        let kind = match PortNumber::of_adapter(number) {
            Some(port) if port.lane_0() == number => Kind::Lane0,
            Some(_) => Kind::Lane1,
            None if number == NHI_ADAPTER => Kind::Nhi,
            None => Kind::Inactive,
        };
        let mut adapter = Self {
            number,
            kind,
            speed: LinkSpeed::default(),
            registers: [0; DWORDS],
        };
        adapter.reset();
        adapter
    }

    pub(super) fn reset(&mut self) {
        self.registers = [0; DWORDS];
        let number = u32::from(self.number.0) << NUMBER_SHIFT;
        match self.kind {
            Kind::Inactive => (),
            Kind::Lane0 | Kind::Lane1 => {
                self.registers[ADP_CS_0] = VENDOR_AND_DEVICE;
                self.registers[ADP_CS_1] = LANE as u32;
                self.registers[ADP_CS_2] = TYPE_LANE | USB4_VERSION_2;
                self.registers[ADP_CS_3] = number;
                self.registers[ADP_CS_4] = TOTAL_CREDITS;
                self.registers[ADP_CS_5] = MAX_HOPS | DISABLE_HOTPLUG;
                self.registers[TMU] = TMU_ID;
                self.reset_lane();
            }
            Kind::Nhi => {
                self.registers[ADP_CS_0] = VENDOR_AND_DEVICE;
                self.registers[ADP_CS_2] = TYPE_NHI | USB4_VERSION_2;
                self.registers[ADP_CS_3] = number;
                self.registers[ADP_CS_5] = MAX_HOPS;
            }
        }
        if self.kind == Kind::Lane0 {
            self.registers[USB4] = TMU as u32 | USB4_ID;
        }
    }

    fn reset_lane(&mut self) {
        let next = match self.kind {
            Kind::Lane0 => USB4,
            _ => TMU,
        };
        let (supported, current, width) = match self.speed {
            LinkSpeed::Gbps20 => (GEN_2, GEN_2, LaneWidth::Single),
            LinkSpeed::Gbps40 => (GEN_2 | GEN_3, GEN_3, LaneWidth::Single),
            LinkSpeed::Gbps80 => (GEN_2 | GEN_3 | GEN_4, GEN_4, LaneWidth::Dual),
        };
        self.registers[LANE] = next as u32
            | LANE_ID
            | supported << SUPPORTED_SPEED_SHIFT
            | SUPPORTED_WIDTHS << SUPPORTED_WIDTH_SHIFT;
        let target_width = match width {
            LaneWidth::Single => 1,
            LaneWidth::Dual => TARGET_WIDTH_DUAL,
        };
        self.registers[LANE_CS_1] = supported
            | target_width << TARGET_WIDTH_SHIFT
            | current << CURRENT_SPEED_SHIFT
            | STATE_UNPLUGGED << STATE_SHIFT;
        self.set_width(width);
    }

    pub(super) fn set_speed(&mut self, speed: LinkSpeed) {
        self.speed = speed;
        self.reset_lane();
    }

    /// The link goes up or down; a link that goes down forgets its bonding.
    pub(super) fn set_link(&mut self, link: LinkState) {
        let state = match link {
            LinkState::Up => STATE_UP,
            LinkState::Down => {
                self.reset_lane();
                STATE_UNPLUGGED
            }
        };
        let register = &mut self.registers[LANE_CS_1];
        *register = *register & !STATE_MASK | state << STATE_SHIFT;
    }

    pub(super) fn set_width(&mut self, width: LaneWidth) {
        let value = match width {
            LaneWidth::Single => 1,
            LaneWidth::Dual => 2,
        };
        let register = &mut self.registers[LANE_CS_1];
        *register = *register & !CURRENT_WIDTH_MASK | value << CURRENT_WIDTH_SHIFT;
    }

    /// What the connection manager has set, or what the link trains to by itself.
    pub(super) fn wanted_width(&self) -> LaneWidth {
        let register = self.registers[LANE_CS_1];
        let dual = register >> TARGET_WIDTH_SHIFT & TARGET_WIDTH_MASK == TARGET_WIDTH_DUAL;
        let bonded = register & BOND != 0 || self.speed == LinkSpeed::Gbps80;
        if dual && bonded {
            LaneWidth::Dual
        } else {
            LaneWidth::Single
        }
    }

    pub(super) fn is_hotplug_enabled(&self) -> bool {
        self.registers[ADP_CS_5] & DISABLE_HOTPLUG == 0
    }

    pub(super) fn read(&self, offset: usize) -> Option<u32> {
        self.registers.get(offset).copied()
    }

    /// Writes a register that exists; read-only bits keep their value.
    pub(super) fn write(&mut self, offset: usize, value: u32) {
        let old = self.registers[offset];
        let keep = |fixed: u32| old & fixed | value & !fixed;
        let lane = matches!(self.kind, Kind::Lane0 | Kind::Lane1);
        let usb4 = self.kind == Kind::Lane0;
        self.registers[offset] = match offset {
            ADP_CS_0..=ADP_CS_3 => old,
            ADP_CS_4 => keep(!NFC_CREDITS_MASK),
            ADP_CS_5 => keep(MAX_HOPS_MASK),
            LANE | TMU if lane => old,
            LANE_CS_1 if lane => keep(!LANE_CS_1_WRITABLE),
            USB4 | USB4_CS_18 if usb4 => old,
            // Nobody is there to answer on the sideband: no retimers.
            USB4_CS_1 if usb4 && value & SIDEBAND_PENDING != 0 => {
                value & !SIDEBAND_PENDING | SIDEBAND_NO_RESPONSE
            }
            _ => value,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane_0() -> Adapter {
        Adapter::new(PortNumber(1).lane_0())
    }

    fn state(adapter: &Adapter) -> u32 {
        (adapter.registers[LANE_CS_1] & STATE_MASK) >> STATE_SHIFT
    }

    fn width(adapter: &Adapter) -> u32 {
        (adapter.registers[LANE_CS_1] & CURRENT_WIDTH_MASK) >> CURRENT_WIDTH_SHIFT
    }

    #[test]
    fn capabilities_are_chained() {
        let adapter = lane_0();
        let mut ids = Vec::new();
        let mut next = adapter.registers[ADP_CS_1] & 0xff;
        while next != 0 {
            let header = adapter.registers[next as usize];
            ids.push(header >> 8 & 0xff);
            next = header & 0xff;
        }
        assert_eq!(ids, [1, 6, 3]);
    }

    #[test]
    fn unplugged_until_the_link_is_up() {
        let mut adapter = lane_0();
        assert_eq!(state(&adapter), STATE_UNPLUGGED);
        adapter.set_link(LinkState::Up);
        assert_eq!(state(&adapter), STATE_UP);
        adapter.write(LANE_CS_1, 0);
        assert_eq!(state(&adapter), STATE_UP, "read-only");
        adapter.set_link(LinkState::Down);
        assert_eq!(state(&adapter), STATE_UNPLUGGED);
    }

    #[test]
    fn bonding() {
        let mut adapter = lane_0();
        adapter.set_speed(LinkSpeed::Gbps80);
        assert_eq!(
            (width(&adapter), adapter.wanted_width()),
            (2, LaneWidth::Dual)
        );
        adapter.set_speed(LinkSpeed::Gbps40);
        assert_eq!(
            (width(&adapter), adapter.wanted_width()),
            (1, LaneWidth::Single)
        );
        let target = TARGET_WIDTH_DUAL << TARGET_WIDTH_SHIFT;
        adapter.write(LANE_CS_1, target);
        assert_eq!(adapter.wanted_width(), LaneWidth::Single);
        adapter.write(LANE_CS_1, target | BOND);
        assert_eq!(adapter.wanted_width(), LaneWidth::Dual);
        adapter.set_width(LaneWidth::Dual);
        assert_eq!(width(&adapter), 2);
        adapter.set_link(LinkState::Down);
        assert_eq!(
            (width(&adapter), adapter.wanted_width()),
            (1, LaneWidth::Single)
        );
    }

    #[test]
    fn nobody_on_the_sideband() {
        let mut adapter = lane_0();
        adapter.write(USB4_CS_1, SIDEBAND_PENDING | 5);
        assert_eq!(adapter.read(USB4_CS_1), Some(SIDEBAND_NO_RESPONSE | 5));
    }

    #[test]
    fn hotplug_events_are_off_at_first() {
        let mut adapter = lane_0();
        assert!(!adapter.is_hotplug_enabled());
        adapter.write(ADP_CS_5, 0);
        assert!(adapter.is_hotplug_enabled());
        assert_eq!(adapter.read(ADP_CS_5), Some(MAX_HOPS));
    }

    #[test]
    fn the_nhi_adapter_is_plain() {
        let mut adapter = Adapter::new(NHI_ADAPTER);
        assert_eq!(adapter.registers[ADP_CS_1], 0);
        assert_eq!(adapter.registers[ADP_CS_2] & 0xff, TYPE_NHI);
        adapter.write(ADP_CS_2, 0);
        assert_eq!(adapter.registers[ADP_CS_2] & 0xff, TYPE_NHI);
        assert_eq!(adapter.read(DWORDS), None);
    }
}
