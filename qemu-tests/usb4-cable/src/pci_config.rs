// SPDX-License-Identifier: GPL-2.0

//! PCI config space of the NHI.

use crate::msix::MSIX_BAR_SIZE;
use crate::msix::PENDING_OFFSET;
use crate::nhi::register::REGISTER_FILE_SIZE;
use crate::nhi::VECTORS;

/// Bytes of the config space.
pub const CONFIG_SIZE: usize = 256;

/// BAR with the registers.
pub const REGISTER_BAR: u32 = 0;
/// BAR with the MSI-X table and the pending bits.
pub const MSIX_BAR: u32 = 2;

/// Intel with a device ID that no driver lists: the vendor tells the driver that interrupt status
/// clears itself, and the unknown device that the connection manager is in the kernel.
const VENDOR_AND_DEVICE: u32 = 0xf0f0_8086;
const COMMAND: usize = 0x04;
const COMMAND_WRITABLE: u32 = 0xffff;
/// There is a capability list.
const STATUS: u32 = 0x0010 << 16;
/// USB4 host interface, revision 1.
const CLASS_AND_REVISION: u32 = 0x0c03_4001;
const BARS: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;

const MSIX: usize = 0x40;
const MSIX_ID: u32 = 0x11;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;

/// Who keeps the base addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseAddresses {
    /// The virtual machine monitor: none show here.
    OfMonitor,
    /// This config space. They are 32-bit memory addresses; writing ones shows the size.
    OfDevice,
}

/// The config space.
pub struct PciConfig {
    bytes: [u8; CONFIG_SIZE],
    writable: [u8; CONFIG_SIZE],
}

impl PciConfig {
    /// After a reset.
    pub fn new(base_addresses: BaseAddresses) -> Self {
        let mut config = Self {
            bytes: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
        };
        for (offset, value, writable) in [
            (0, VENDOR_AND_DEVICE, 0),
            (COMMAND, STATUS, COMMAND_WRITABLE),
            (0x08, CLASS_AND_REVISION, 0),
            (SUBSYSTEM, VENDOR_AND_DEVICE, 0),
            (CAPABILITIES, MSIX as u32, 0),
            (
                MSIX,
                MSIX_ID | (VECTORS as u32 - 1) << u16::BITS,
                MSIX_ENABLE | MSIX_MASK_ALL,
            ),
            (MSIX + 4, MSIX_BAR, 0),
            (MSIX + 8, MSIX_BAR | PENDING_OFFSET as u32, 0),
        ] {
            config.define(offset, value, writable);
        }
        if base_addresses == BaseAddresses::OfDevice {
            for (bar, size) in [
                (REGISTER_BAR, REGISTER_FILE_SIZE),
                (MSIX_BAR, MSIX_BAR_SIZE),
            ] {
                let offset = BARS + bar as usize * size_of::<u32>();
                config.define(offset, 0, !(size as u32 - 1));
            }
        }
        config
    }

    fn define(&mut self, offset: usize, value: u32, writable: u32) {
        let dword = offset..offset + size_of::<u32>();
        self.bytes[dword.clone()].copy_from_slice(&value.to_le_bytes());
        self.writable[dword].copy_from_slice(&writable.to_le_bytes());
    }

    /// The guest reads; beyond the end there are zeros.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (position, byte) in (offset..=u64::MAX).zip(data) {
            let stored = usize::try_from(position).ok();
            *byte = stored
                .and_then(|position| self.bytes.get(position))
                .copied()
                .unwrap_or(0);
        }
    }

    /// The guest writes; what cannot be written stays.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (position, byte) in (offset..CONFIG_SIZE as u64).zip(data) {
            let writable = self.writable[position as usize];
            let stored = &mut self.bytes[position as usize];
            *stored = *stored & !writable | byte & writable;
        }
    }

    /// Whether the guest takes MSI-X interrupts: enabled, and not all of them masked.
    pub fn is_msix_on(&self) -> bool {
        let mut control = [0; size_of::<u32>()];
        self.read(MSIX as u64, &mut control);
        u32::from_le_bytes(control) & (MSIX_ENABLE | MSIX_MASK_ALL) == MSIX_ENABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &PciConfig, offset: u64) -> u32 {
        let mut dword = [0; 4];
        config.read(offset, &mut dword);
        u32::from_le_bytes(dword)
    }

    #[test]
    fn identity_cannot_be_written() {
        let mut config = PciConfig::new(BaseAddresses::OfMonitor);
        config.write(0, &[0xff; CONFIG_SIZE]);
        assert_eq!(read(&config, 0), VENDOR_AND_DEVICE);
        assert_eq!(read(&config, 4), STATUS | 0xffff, "command register");
        assert_eq!(read(&config, 8), CLASS_AND_REVISION);
        assert_eq!(read(&config, 0x10), 0, "no base address");
        assert_eq!(read(&config, 0x40), 0xc00f_0011, "MSI-X enabled and masked");
        assert!(!config.is_msix_on());
        assert_eq!(read(&config, CONFIG_SIZE as u64), 0);
        assert_eq!(read(&config, u64::MAX - 1), 0);
        config.write(u64::MAX, &[1, 2]);
    }

    #[test]
    fn base_addresses_show_their_size_and_are_kept() {
        let mut config = PciConfig::new(BaseAddresses::OfDevice);
        config.write(0x10, &[0xff; 24]);
        let bars = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(|offset| read(&config, offset));
        assert_eq!(bars, [0xfffc_0000, 0, 0xffff_f000, 0, 0, 0]);
        config.write(0x10, &0xe123_4567u32.to_le_bytes());
        assert_eq!(read(&config, 0x10), 0xe120_0000);
    }

    #[test]
    fn msix_is_enabled_a_byte_or_a_word_at_a_time() {
        let mut config = PciConfig::new(BaseAddresses::OfDevice);
        config.write(0x42, &0x8000u16.to_le_bytes());
        assert!(config.is_msix_on());
        config.write(0x43, &[0xc0]);
        assert!(!config.is_msix_on());
    }
}
