// SPDX-License-Identifier: GPL-2.0

//! What is said in the queues: `struct virtio_pcidev_msg` of `linux/virtio_pcidev.h`. Its fields have the byte order of
//! the processor; data are little-endian.

use crate::msix::MsiMessage;
use crate::pci_config::MSIX_BAR;
use crate::pci_config::REGISTER_BAR;

/// Bytes of a message without its data.
pub(super) const HEADER_SIZE: usize = 16;
/// Bytes of an interrupt message.
pub(super) const INTERRUPT_SIZE: usize = HEADER_SIZE + size_of::<u32>();

const OP_CONFIG_READ: u8 = 1;
const OP_CONFIG_WRITE: u8 = 2;
const OP_MMIO_READ: u8 = 3;
const OP_MMIO_WRITE: u8 = 4;
const OP_MMIO_MEMSET: u8 = 5;
const OP_MSI: u8 = 7;

/// What a command accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The PCI config space.
    Config,
    /// The registers.
    Registers,
    /// The MSI-X table.
    Msix,
    /// A BAR that the function does not have.
    Nothing,
}

impl Space {
    fn of_bar(bar: u8) -> Self {
        match u32::from(bar) {
            REGISTER_BAR => Self::Registers,
            MSIX_BAR => Self::Msix,
            _ => Self::Nothing,
        }
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Fill the command's buffer.
    Read,
    /// Take the data that follow.
    Write,
    /// Take the byte that follows, over and over.
    Fill,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) operation: Operation,
    pub(super) space: Space,
    pub(super) offset: u64,
    /// Bytes to read or write, as the guest says.
    pub(super) size: u32,
}

impl Command {
    /// Decodes the header of a message, unless it is none that a device is sent.
    pub(super) fn decode(header: [u8; HEADER_SIZE]) -> Option<Self> {
        let [op, bar, _, _, s0, s1, s2, s3, offset @ ..] = header;
        let (operation, space) = match op {
            OP_CONFIG_READ => (Operation::Read, Space::Config),
            OP_CONFIG_WRITE => (Operation::Write, Space::Config),
            OP_MMIO_READ => (Operation::Read, Space::of_bar(bar)),
            OP_MMIO_WRITE => (Operation::Write, Space::of_bar(bar)),
            OP_MMIO_MEMSET => (Operation::Fill, Space::of_bar(bar)),
            _ => return None,
        };
        Some(Self {
            operation,
            space,
            offset: u64::from_ne_bytes(offset),
            size: u32::from_ne_bytes([s0, s1, s2, s3]),
        })
    }
}

/// An MSI-X interrupt.
pub(super) fn encode_interrupt(message: MsiMessage) -> [u8; INTERRUPT_SIZE] {
    let mut bytes = [0; INTERRUPT_SIZE];
    bytes[0] = OP_MSI;
    bytes[4..8].copy_from_slice(&(size_of::<u32>() as u32).to_ne_bytes());
    bytes[8..HEADER_SIZE].copy_from_slice(&message.address.to_ne_bytes());
    bytes[HEADER_SIZE..].copy_from_slice(&message.data.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(op: u8, bar: u8) -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        header[0] = op;
        header[1] = bar;
        header[4..8].copy_from_slice(&4u32.to_ne_bytes());
        header[8..].copy_from_slice(&0x3_8200u64.to_ne_bytes());
        header
    }

    #[test]
    fn commands() {
        let decode = |op, bar| {
            let command = Command::decode(header(op, bar))?;
            assert_eq!((command.offset, command.size), (0x3_8200, 4));
            Some((command.operation, command.space))
        };
        assert_eq!(decode(1, 0), Some((Operation::Read, Space::Config)));
        assert_eq!(decode(2, 0), Some((Operation::Write, Space::Config)));
        assert_eq!(decode(3, 0), Some((Operation::Read, Space::Registers)));
        assert_eq!(decode(4, 2), Some((Operation::Write, Space::Msix)));
        assert_eq!(decode(5, 1), Some((Operation::Fill, Space::Nothing)));
        for other in [0, 6, 7, 8, 9, 255] {
            assert_eq!(decode(other, 0), None);
        }
    }

    #[test]
    fn interrupts() {
        let message = MsiMessage {
            address: 1,
            data: 0x0403_0201,
        };
        let bytes = encode_interrupt(message);
        assert_eq!(bytes[..4], [7, 0, 0, 0]);
        assert_eq!(bytes[4..8], 4u32.to_ne_bytes());
        assert_eq!(bytes[8..16], 1u64.to_ne_bytes());
        assert_eq!(bytes[16..], [1, 2, 3, 4]);
    }
}
