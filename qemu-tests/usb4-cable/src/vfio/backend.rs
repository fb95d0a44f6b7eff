// SPDX-License-Identifier: GPL-2.0

//! What a vfio-user client asks for, done to an NHI.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_user::DmaMapFlags;
use vfio_user::DmaUnmapFlags;
use vfio_user::ServerBackend;
use vm_memory::FileOffset;
use vm_memory::MmapRegion;

use super::eventfd::EventFds;
use super::region;
use crate::cable::NhiIndex;
use crate::connection::Connection;
use crate::fabric::Fabric;
use crate::guest_memory::Access;
use crate::guest_memory::GuestAddress;
use crate::nhi::Nhi;
use crate::pci_config::BaseAddresses;
use crate::pci_config::PciConfig;

/// One connection to an NHI. The guest is attached from its first message until this is dropped.
pub(super) struct Backend {
    fabric: Arc<Mutex<Fabric>>,
    nhi: NhiIndex,
    config: PciConfig,
    eventfds: EventFds,
    connection: Connection,
}

impl Backend {
    pub(super) fn new(fabric: Arc<Mutex<Fabric>>, nhi: NhiIndex) -> Self {
        Self {
            fabric,
            nhi,
            config: PciConfig::new(BaseAddresses::OfMonitor),
            eventfds: EventFds::default(),
            connection: Connection::Closed,
        }
    }

    fn with_nhi<R>(&mut self, work: impl FnOnce(&mut Nhi) -> R) -> R {
        let mut fabric = self.fabric.lock();
        if self.connection == Connection::Closed {
            self.connection = Connection::Open;
            let attachment = Box::new(self.eventfds.clone());
            fabric.with_nhi(self.nhi, |nhi| nhi.attach(attachment));
        }
        fabric.with_nhi(self.nhi, work)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if self.connection == Connection::Open {
            self.fabric.lock().with_nhi(self.nhi, Nhi::detach);
        }
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, index: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match index {
            region::REGISTERS => self.with_nhi(|nhi| nhi.read_register(offset, data)),
            region::CONFIG => self.config.read(offset, data),
            _ => data.fill(0),
        }
        Ok(())
    }

    fn region_write(&mut self, index: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        match index {
            region::REGISTERS => self.with_nhi(|nhi| nhi.write_register(offset, data)),
            region::CONFIG => self.config.write(offset, data),
            _ => (),
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        // Without a file there is nothing to map: ROMs, which no driver uses for DMA.
        let (Some(file), Ok(len)) = (fd, usize::try_from(size)) else {
            return Ok(());
        };
        let access = if flags.contains(DmaMapFlags::WRITE) {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        let file = Some(FileOffset::new(file, offset));
        let memory = MmapRegion::build(file, len, access.protection(), libc::MAP_SHARED)
            .map_err(io::Error::other)?;
        self.with_nhi(|nhi| nhi.memory_mut().map(GuestAddress(address), memory, access))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.with_nhi(|nhi| {
            if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
                nhi.memory_mut().clear();
            } else {
                nhi.memory_mut().unmap(GuestAddress(address), size);
            }
        });
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.with_nhi(Nhi::reset_by_machine);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        _flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if index != region::MSIX {
            return Ok(());
        }
        match (fds.is_empty(), count) {
            (false, _) => self.eventfds.wire(start, fds)?,
            // Without files: unwire, everything if no vector is named.
            (true, 0) => self.eventfds.unwire_all(),
            (true, count) => self.eventfds.unwire(start, count)?,
        }
        Ok(())
    }
}
