// SPDX-License-Identifier: GPL-2.0

//! The register file of an NHI (`drivers/thunderbolt/nhi_regs.h`).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use rustix::fs::MemfdFlags;
use vm_memory::FileOffset;
use vm_memory::MmapRegion;
use vm_memory::VolatileMemory;

/// Bytes of the register file, the size of BAR 0.
pub const REGISTER_FILE_SIZE: usize = 0x4_0000;

/// Bytes of a page that a front end may map into the guest.
pub const PAGE_SIZE: usize = 0x1000;

/// Pages without side effects on access, which the guest may use as plain memory: transmit
/// rings, receive rings, interrupt masks and moderation.
pub const PLAIN_PAGES: [usize; 3] = [TX_RING_BASE, RX_RING_BASE, INTERRUPT_PAGE];

/// Transmit rings: 16 bytes each.
pub const TX_RING_BASE: usize = 0x0_0000;
/// Receive rings: 16 bytes each.
pub const RX_RING_BASE: usize = 0x0_8000;
/// Bytes between the registers of two rings.
pub const RING_STRIDE: usize = 16;
/// Descriptor table address, low half; the high half follows.
pub const RING_ADDRESS: usize = 0;
/// Producer index (high half, transmit) or consumer index (low half, receive).
pub const RING_INDEX: usize = 8;
/// Number of descriptors (low half) and, for receive rings, size of the buffers (high half).
pub const RING_SIZE: usize = 12;

/// Options of the transmit rings: 32 bytes each.
pub const TX_OPTIONS_BASE: usize = 0x1_9800;
/// Options of the receive rings: 32 bytes each.
pub const RX_OPTIONS_BASE: usize = 0x2_9800;
/// Bytes between the options of two rings.
pub const OPTIONS_STRIDE: usize = 32;
/// Masks of the start and end of frame values a receive ring takes.
pub const RX_OPTIONS_MASKS: usize = 4;

/// Interrupt status, cleared by reading; then clear registers.
pub const NOTIFY_BASE: usize = 0x3_7800;
/// End of the interrupt status and clear registers.
pub const NOTIFY_END: usize = 0x3_7820;

/// Page of the interrupt registers below.
const INTERRUPT_PAGE: usize = 0x3_8000;
/// Interrupt mask: transmit rings, then receive rings, a bit each.
pub const INTERRUPT_MASK: usize = 0x3_8200;
/// Throttling interval of each vector, in units of 256 ns.
pub const THROTTLE_BASE: usize = 0x3_8c00;
/// Unit of the throttling interval.
pub const THROTTLE_UNIT_NS: u64 = 256;
/// Valid bits of a throttling interval.
pub const THROTTLE_MASK: u32 = 0xffff;
/// Vector of each ring: transmit rings, then receive rings, four bits each.
pub const VECTOR_BASE: usize = 0x3_8c40;
/// Bits of a ring's vector.
pub const VECTOR_BITS: usize = 4;

/// Number of rings and version.
pub const CAPABILITIES: usize = 0x3_9640;
/// Version 2 in [`CAPABILITIES`]: the host router reset exists.
pub const CAPABILITIES_VERSION_2: u32 = 0x40 << 16;

/// Host router reset; reads as zero once done.
pub const RESET: usize = 0x3_9898;
/// Bit of [`RESET`] that starts it.
pub const RESET_HOST_ROUTER: u32 = 1 << 0;

/// The registers, in memory that a front end can share with the guest.
pub struct RegisterFile {
    file: Arc<File>,
    memory: MmapRegion,
}

impl RegisterFile {
    /// All registers zero.
    pub fn new() -> std::io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create(
            "usb4-nhi-registers",
            MemfdFlags::CLOEXEC,
        )?);
        file.set_len(REGISTER_FILE_SIZE as u64)?;
        let file = Arc::new(file);
        let whole = FileOffset::from_arc(Arc::clone(&file), 0);
        let memory = MmapRegion::from_file(whole, REGISTER_FILE_SIZE);
        Ok(Self {
            file,
            memory: memory.map_err(std::io::Error::other)?,
        })
    }

    /// The memory file, to be mapped into the guest page by page ([`PLAIN_PAGES`]).
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads the register at `offset`, rounded down to a register.
    ///
    /// # Panics
    ///
    /// Beyond [`REGISTER_FILE_SIZE`].
    pub fn load(&self, offset: usize) -> u32 {
        self.register(offset).load(Ordering::Acquire)
    }

    /// Writes the register at `offset`, rounded down to a register.
    ///
    /// # Panics
    ///
    /// Beyond [`REGISTER_FILE_SIZE`].
    pub fn store(&self, offset: usize, value: u32) {
        self.register(offset).store(value, Ordering::Release);
    }

    /// Reads the 64-bit register at `offset`, low half first.
    pub fn load_u64(&self, offset: usize) -> u64 {
        u64::from(self.load(offset)) | u64::from(self.load(offset + 4)) << u32::BITS
    }

    /// Clears every register.
    pub fn clear(&self) {
        for offset in (0..REGISTER_FILE_SIZE).step_by(size_of::<u32>()) {
            self.store(offset, 0);
        }
    }

    fn register(&self, offset: usize) -> &AtomicU32 {
        let offset = offset & !(size_of::<u32>() - 1);
        match self.memory.get_atomic_ref(offset) {
            Ok(register) => register,
            Err(error) => panic!("register {offset:#x}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_hold_what_is_written() {
        let registers = RegisterFile::new().unwrap();
        registers.store(RING_SIZE, 7);
        registers.store(RING_ADDRESS + 4, 1);
        registers.store(REGISTER_FILE_SIZE - 1, 9);
        assert_eq!(registers.load(RING_SIZE), 7);
        assert_eq!(registers.load_u64(RING_ADDRESS), 1 << 32);
        assert_eq!(registers.load(REGISTER_FILE_SIZE - 4), 9);
        registers.clear();
        assert_eq!(registers.load(RING_SIZE), 0);
    }
}
