// SPDX-License-Identifier: GPL-2.0

//! The memory of a guest as the NHI's DMA sees it.
//!
//! Front ends map the pieces they are told of; everything else finds memory by guest address and
//! gets an error, never a panic, for addresses the guest made up.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;

pub use vm_memory::GuestAddress;
use vm_memory::MmapRegion;
use vm_memory::VolatileMemory;
use vm_memory::VolatileSlice;

/// Whether the device may write to a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

impl Access {
    /// As `mmap` calls it.
    pub fn protection(self) -> i32 {
        match self {
            Self::ReadOnly => libc::PROT_READ,
            Self::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// Why an access failed: the guest gave an address it should not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmaError {
    /// No memory there, or not that much in one piece.
    #[error("no guest memory at {address:#x}+{len:#x}")]
    NoMemory {
        /// First address.
        address: u64,
        /// Bytes asked for.
        len: usize,
    },
    /// The memory cannot be written.
    #[error("guest memory is read-only")]
    ReadOnly,
    /// The field is not aligned to its size, or beyond the end.
    #[error("misplaced field")]
    Misplaced,
}

struct Region {
    start: u64,
    memory: Arc<MmapRegion>,
    access: Access,
}

impl Region {
    /// One past the last address.
    fn end(&self) -> u64 {
        self.start + self.memory.size() as u64
    }
}

/// What is mapped of one guest's memory.
#[derive(Default)]
pub struct GuestMemory {
    regions: Vec<Region>,
}

impl GuestMemory {
    /// Maps `memory` at `start`, in place of whatever it overlaps.
    ///
    /// # Errors
    ///
    /// [`DmaError::NoMemory`] if the addresses wrap around.
    pub fn map(
        &mut self,
        start: GuestAddress,
        memory: impl Into<Arc<MmapRegion>>,
        access: Access,
    ) -> Result<(), DmaError> {
        let memory = memory.into();
        let len = memory.size();
        let end = start.0.checked_add(len as u64).ok_or(DmaError::NoMemory {
            address: start.0,
            len,
        })?;
        self.regions
            .retain(|region| region.end() <= start.0 || region.start >= end);
        self.regions.push(Region {
            start: start.0,
            memory,
            access,
        });
        Ok(())
    }

    /// Unmaps all pieces that lie within `len` bytes from `start`.
    pub fn unmap(&mut self, start: GuestAddress, len: u64) {
        let end = start.0.saturating_add(len);
        self.regions
            .retain(|region| region.start < start.0 || region.end() > end);
    }

    /// Unmaps everything.
    pub fn clear(&mut self) {
        self.regions.clear();
    }

    /// The `len` bytes at `address`.
    pub fn slice(&self, address: GuestAddress, len: usize) -> Result<GuestSlice<'_>, DmaError> {
        let missing = DmaError::NoMemory {
            address: address.0,
            len,
        };
        let end = address.0.checked_add(len as u64).ok_or(missing)?;
        let region = self
            .regions
            .iter()
            .find(|region| region.start <= address.0 && end <= region.end())
            .ok_or(missing)?;
        let offset = (address.0 - region.start) as usize;
        let bytes = region.memory.get_slice(offset, len).map_err(|_| missing)?;
        Ok(GuestSlice {
            bytes,
            access: region.access,
        })
    }
}

/// A contiguous piece of guest memory.
///
/// The guest may change the bytes at any time: whatever is read is a snapshot, and nothing here
/// hands out references to it but to atomics.
#[derive(Clone, Copy)]
pub struct GuestSlice<'a> {
    bytes: VolatileSlice<'a>,
    access: Access,
}

impl GuestSlice<'_> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The first `len` bytes, or all if there are fewer.
    #[must_use]
    pub fn first(self, len: usize) -> Self {
        Self {
            bytes: self.bytes.subslice(0, len).unwrap_or(self.bytes),
            ..self
        }
    }

    /// A snapshot of all bytes. The guest may write meanwhile: any mixture of old and new is acceptable.
    pub fn to_vec(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.bytes.copy_to(&mut bytes);
        bytes
    }

    /// Copies `bytes` to the beginning.
    ///
    /// # Errors
    ///
    /// [`DmaError::Misplaced`] if they do not fit, [`DmaError::ReadOnly`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), DmaError> {
        self.check_write(bytes.len())?;
        self.bytes.copy_from(bytes);
        Ok(())
    }

    /// Copies the bytes of `source` to the beginning: the one copy of a frame between guests. Both may be the same
    /// guest's memory, so they may overlap.
    ///
    /// # Errors
    ///
    /// [`DmaError::Misplaced`] if they do not fit, [`DmaError::ReadOnly`].
    pub fn copy_from(&self, source: GuestSlice<'_>) -> Result<(), DmaError> {
        self.check_write(source.len())?;
        source.bytes.copy_to_volatile_slice(self.bytes);
        Ok(())
    }

    /// Flips bits `mask` of the byte at `offset`.
    ///
    /// # Errors
    ///
    /// [`DmaError::Misplaced`] beyond the end, [`DmaError::ReadOnly`].
    pub fn flip(&self, offset: usize, mask: u8) -> Result<(), DmaError> {
        self.check_write(offset.saturating_add(1))?;
        let byte = self.bytes.get_ref::<u8>(offset);
        let byte = byte.map_err(|_| DmaError::Misplaced)?;
        byte.store(byte.load() ^ mask);
        Ok(())
    }

    /// Reads the little-endian u64 at `offset`.
    pub fn load_u64(&self, offset: usize) -> Result<u64, DmaError> {
        let field = self.bytes.get_atomic_ref::<AtomicU64>(offset);
        let field = field.map_err(|_| DmaError::Misplaced)?;
        Ok(u64::from_le(field.load(Ordering::Acquire)))
    }

    /// Reads the little-endian u32 at `offset`.
    pub fn load_u32(&self, offset: usize) -> Result<u32, DmaError> {
        let field = self.dword(offset)?;
        Ok(u32::from_le(field.load(Ordering::Acquire)))
    }

    /// Writes the little-endian u32 at `offset`; the guest sees it after all writes before.
    pub fn store_u32(&self, offset: usize, value: u32) -> Result<(), DmaError> {
        self.check_write(offset)?;
        let field = self.dword(offset)?;
        field.store(value.to_le(), Ordering::Release);
        Ok(())
    }

    fn dword(&self, offset: usize) -> Result<&AtomicU32, DmaError> {
        let field = self.bytes.get_atomic_ref(offset);
        field.map_err(|_| DmaError::Misplaced)
    }

    fn check_write(&self, len: usize) -> Result<(), DmaError> {
        if self.access == Access::ReadOnly {
            return Err(DmaError::ReadOnly);
        }
        if len > self.len() {
            return Err(DmaError::Misplaced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous(len: usize) -> MmapRegion {
        MmapRegion::new(len).unwrap()
    }

    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::default();
        let map = |memory: &mut GuestMemory, start, access| {
            memory
                .map(GuestAddress(start), anonymous(0x1000), access)
                .unwrap()
        };
        map(&mut memory, 0x1000, Access::ReadWrite);
        map(&mut memory, 0x8000, Access::ReadOnly);
        memory
    }

    #[test]
    fn addresses_a_guest_made_up() {
        let memory = memory();
        let missing = |address, len| memory.slice(GuestAddress(address), len).is_err();
        assert!(missing(0, 1));
        assert!(missing(0xfff, 2));
        assert!(missing(0x1fff, 2));
        assert!(missing(u64::MAX, 1));
        assert!(missing(u64::MAX, usize::MAX));
        assert!(!missing(0x1fff, 1));
    }

    #[test]
    fn fields() {
        let memory = memory();
        let slice = memory.slice(GuestAddress(0x1010), 16).unwrap();
        slice.write(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(slice.load_u64(0), Ok(0x0807_0605_0403_0201));
        slice.store_u32(4, 0x99).unwrap();
        assert_eq!(slice.load_u32(4), Ok(0x99));
        slice.flip(4, 0xff).unwrap();
        assert_eq!(slice.load_u32(4), Ok(0x66));
        assert_eq!(slice.load_u32(2), Err(DmaError::Misplaced));
        assert_eq!(slice.load_u32(16), Err(DmaError::Misplaced));
        assert_eq!(slice.load_u32(usize::MAX), Err(DmaError::Misplaced));
        assert_eq!(slice.flip(usize::MAX, 1), Err(DmaError::Misplaced));
        assert_eq!(slice.write(&[0; 17]), Err(DmaError::Misplaced));
    }

    #[test]
    fn read_only_memory_is_not_written() {
        let memory = memory();
        let slice = memory.slice(GuestAddress(0x8000), 16).unwrap();
        assert_eq!(slice.write(&[1]), Err(DmaError::ReadOnly));
        assert_eq!(slice.store_u32(0, 1), Err(DmaError::ReadOnly));
        assert_eq!(slice.flip(0, 1), Err(DmaError::ReadOnly));
        assert_eq!(slice.copy_from(slice), Err(DmaError::ReadOnly));
        assert_eq!(slice.load_u32(0), Ok(0));
    }

    #[test]
    fn unmapped_memory_is_gone() {
        let mut memory = memory();
        memory.unmap(GuestAddress(0x1000), 0x1000);
        assert!(memory.slice(GuestAddress(0x1000), 1).is_err());
        assert!(memory.slice(GuestAddress(0x8000), 1).is_ok());
        memory.clear();
        assert!(memory.slice(GuestAddress(0x8000), 1).is_err());
    }

    #[test]
    fn a_new_mapping_replaces_an_old_one() {
        let mut memory = memory();
        let old = memory.slice(GuestAddress(0x1000), 4).unwrap();
        old.store_u32(0, 7).unwrap();
        memory
            .map(GuestAddress(0x1000), anonymous(0x1000), Access::ReadWrite)
            .unwrap();
        let new = memory.slice(GuestAddress(0x1000), 4).unwrap();
        assert_eq!(new.load_u32(0), Ok(0));
        assert!(memory
            .map(GuestAddress(u64::MAX), anonymous(0x1000), Access::ReadWrite)
            .is_err());
    }
}
