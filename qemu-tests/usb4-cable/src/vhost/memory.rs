// SPDX-License-Identifier: GPL-2.0

//! The memory that a guest shares: for its queues, and for DMA.

use std::fs::File;
use std::io;
use std::sync::Arc;

use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::FileOffset;
use vm_memory::GuestMemoryMmap;
use vm_memory::GuestRegionMmap;
use vm_memory::MmapRegion;

use crate::guest_memory::Access;
use crate::guest_memory::GuestAddress;
use crate::guest_memory::GuestMemory;

/// The guest's memory as its virtqueues see it.
pub(super) type QueueMemory = GuestMemoryMmap;

/// A piece of the table.
struct Region {
    start: GuestAddress,
    /// Where the guest's own program has it: what addresses of queues refer to.
    user_start: u64,
    memory: Arc<MmapRegion>,
}

/// The memory table of a guest, mapped.
pub(super) struct MemoryTable {
    regions: Vec<Region>,
}

impl MemoryTable {
    /// Maps the files of a table's `regions`, of which there are as many.
    ///
    /// # Errors
    ///
    /// When they cannot be mapped, or are shorter than the table says.
    pub(super) fn map(regions: &[VhostUserMemoryRegion], files: Vec<File>) -> io::Result<Self> {
        let map = |(region, file): (&VhostUserMemoryRegion, File)| {
            let len = usize::try_from(region.memory_size).map_err(io::Error::other)?;
            let end = region.mmap_offset.checked_add(region.memory_size);
            let file_len = file.metadata()?.len();
            if end.is_none_or(|end| file_len < end) {
                // Access past the end of a file would be the end of this program.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let file = FileOffset::new(file, region.mmap_offset);
            let memory = MmapRegion::from_file(file, len).map_err(io::Error::other)?;
            Ok(Region {
                start: GuestAddress(region.guest_phys_addr),
                user_start: region.user_addr,
                memory: Arc::new(memory),
            })
        };
        let regions = regions.iter().zip(files).map(map);
        let mut regions = regions.collect::<io::Result<Vec<_>>>()?;
        regions.sort_by_key(|region| region.start);
        Ok(Self { regions })
    }

    /// The memory for the queues.
    ///
    /// # Errors
    ///
    /// When the pieces overlap, or there are none.
    pub(super) fn queue_memory(&self) -> io::Result<QueueMemory> {
        let regions = self.regions.iter().map(|region| {
            GuestRegionMmap::with_arc(Arc::clone(&region.memory), region.start)
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
        });
        QueueMemory::from_regions(regions.collect::<io::Result<_>>()?).map_err(io::Error::other)
    }

    /// Maps the memory for DMA.
    ///
    /// # Errors
    ///
    /// When addresses wrap around.
    pub(super) fn map_dma(&self, memory: &mut GuestMemory) -> io::Result<()> {
        self.regions.iter().try_for_each(|region| {
            memory
                .map(region.start, Arc::clone(&region.memory), Access::ReadWrite)
                .map_err(io::Error::other)
        })
    }

    /// The guest address of what the guest's own program has at `user`.
    pub(super) fn guest_address(&self, user: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = user.checked_sub(region.user_start)?;
            (offset < region.memory.size() as u64).then(|| GuestAddress(region.start.0 + offset))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(regions: &[VhostUserMemoryRegion]) -> io::Result<MemoryTable> {
        let files = regions.iter().map(|_| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(0x3000).unwrap();
            file
        });
        MemoryTable::map(regions, files.collect())
    }

    #[test]
    fn queues_are_found_by_the_addresses_of_the_guests_program() {
        let table = table(&[
            VhostUserMemoryRegion::new(0x8000, 0x1000, 0x7000_0000, 0),
            VhostUserMemoryRegion::new(0x1000, 0x2000, 0x7000_1000, 0x1000),
        ])
        .unwrap();
        table.queue_memory().unwrap();
        let mut dma = GuestMemory::default();
        table.map_dma(&mut dma).unwrap();
        assert!(dma.slice(GuestAddress(0x2fff), 1).is_ok());
        assert_eq!(table.guest_address(0x7000_0010), Some(GuestAddress(0x8010)));
        assert_eq!(table.guest_address(0x7000_2fff), Some(GuestAddress(0x2fff)));
        assert_eq!(table.guest_address(0x7000_3000), None);
        assert_eq!(table.guest_address(0), None);
    }

    #[test]
    fn tables_that_cannot_be() {
        let region = VhostUserMemoryRegion::new;
        assert!(
            table(&[region(0, 0x4000, 0, 0)]).is_err(),
            "past the end of the file"
        );
        assert!(table(&[region(0, 0x1000, 0, 1)]).is_err(), "not on a page");
        assert!(table(&[]).unwrap().queue_memory().is_err(), "empty");
        let overlapping = [region(0, 0x2000, 0, 0), region(0x1000, 0x1000, 0x1000, 0)];
        assert!(table(&overlapping).unwrap().queue_memory().is_err());
        let wrapping = table(&[region(u64::MAX, 0x1000, 0, 0)]).unwrap();
        assert!(wrapping.queue_memory().is_err());
    }
}
