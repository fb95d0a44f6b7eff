// SPDX-License-Identifier: GPL-2.0

//! PCI config space of the NHI.

use crate::nhi::VECTORS;

/// Bytes of the config space.
pub(super) const CONFIG_SIZE: usize = 256;

/// Intel with a device ID that no driver lists: the vendor tells the driver that interrupt status
/// clears itself, and the unknown device that the connection manager is in the kernel.
const VENDOR_AND_DEVICE: u32 = 0xf0f0_8086;
const COMMAND: usize = 0x04;
const COMMAND_HIGH: usize = COMMAND + 1;
/// There is a capability list.
const STATUS: u32 = 0x0010 << 16;
/// USB4 host interface, revision 1.
const CLASS_AND_REVISION: u32 = 0x0c03_4001;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;

const MSIX: usize = 0x40;
const MSIX_ID: u32 = 0x11;
/// High byte of the message control: enable and function mask.
const MSIX_CONTROL_HIGH: usize = MSIX + 3;
const MSIX_CONTROL_WRITABLE: u8 = 0xc0;
/// Region that holds the MSI-X table and the pending bits.
pub(super) const MSIX_BAR: u32 = 2;
const MSIX_PENDING: u32 = 0x800;

/// The config space; the virtual machine monitor keeps BARs and MSI-X of its own.
pub(super) struct PciConfig {
    bytes: [u8; CONFIG_SIZE],
}

impl PciConfig {
    pub(super) fn new() -> Self {
        let mut config = Self {
            bytes: [0; CONFIG_SIZE],
        };
        for (offset, value) in [
            (0, VENDOR_AND_DEVICE),
            (COMMAND, STATUS),
            (0x08, CLASS_AND_REVISION),
            (SUBSYSTEM, VENDOR_AND_DEVICE),
            (CAPABILITIES, MSIX as u32),
            (MSIX, MSIX_ID | (VECTORS as u32 - 1) << u16::BITS),
            (MSIX + 4, MSIX_BAR),
            (MSIX + 8, MSIX_BAR | MSIX_PENDING),
        ] {
            config.bytes[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        config
    }

    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        for (position, byte) in (offset..=u64::MAX).zip(data) {
            let stored = usize::try_from(position).ok();
            *byte = stored
                .and_then(|position| self.bytes.get(position))
                .copied()
                .unwrap_or(0);
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for (position, byte) in (offset..).zip(data) {
            let writable = match usize::try_from(position) {
                Ok(COMMAND | COMMAND_HIGH) => u8::MAX,
                Ok(MSIX_CONTROL_HIGH) => MSIX_CONTROL_WRITABLE,
                _ => continue,
            };
            let stored = &mut self.bytes[position as usize];
            *stored = *stored & !writable | byte & writable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_cannot_be_written() {
        let mut config = PciConfig::new();
        config.write(0, &[0xff; CONFIG_SIZE]);
        let read = |config: &PciConfig, offset| {
            let mut dword = [0; 4];
            config.read(offset, &mut dword);
            u32::from_le_bytes(dword)
        };
        assert_eq!(read(&config, 0), VENDOR_AND_DEVICE);
        assert_eq!(read(&config, 4), STATUS | 0xffff, "command register");
        assert_eq!(read(&config, 8), CLASS_AND_REVISION);
        assert_eq!(read(&config, 0x40), 0xc00f_0011, "MSI-X enabled and masked");
        assert_eq!(read(&config, CONFIG_SIZE as u64), 0);
        assert_eq!(read(&config, u64::MAX - 1), 0);
    }
}
