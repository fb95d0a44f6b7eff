// SPDX-License-Identifier: GPL-2.0

//! What a vhost-user front end asks for: one connection to an NHI.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use vhost::vhost_user::message::VhostTransferStateDirection;
use vhost::vhost_user::message::VhostTransferStatePhase;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vhost::vhost_user::message::VhostUserInflight;
use vhost::vhost_user::message::VhostUserLog;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::message::VhostUserShMemConfig;
use vhost::vhost_user::message::VhostUserSharedMsg;
use vhost::vhost_user::message::VhostUserSingleMemoryRegion;
use vhost::vhost_user::message::VhostUserVirtioFeatures;
use vhost::vhost_user::message::VhostUserVringAddrFlags;
use vhost::vhost_user::message::VhostUserVringState;
use vhost::vhost_user::Error;
use vhost::vhost_user::GpuBackend;
use vhost::vhost_user::Result;
use vhost::vhost_user::VhostUserBackendReqHandler;
use vhost::VhostUserMemoryRegionBase;
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::function::Function;
use super::function::SharedFunction;
use super::memory::MemoryTable;
use super::vring::Addresses;
use super::vring::Vring;
use crate::cable::NhiIndex;
use crate::fabric::Fabric;
use crate::nhi::Nhi;

/// Features of virtio that a guest must take: with event indices neither side wakes the other without need.
const FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX;

/// Index of the command queue.
const COMMANDS: u32 = 0;
/// Index of the interrupt queue.
const INTERRUPTS: u32 = 1;

/// One connection to an NHI. The guest is attached from its first memory table until this is dropped.
pub(super) struct Session {
    fabric: Arc<Mutex<Fabric>>,
    nhi: NhiIndex,
    function: SharedFunction,
    table: Mutex<Option<MemoryTable>>,
}

impl Session {
    /// A connection that nothing has been asked for yet.
    ///
    /// # Errors
    ///
    /// Never, but the queues' library has it so.
    pub(super) fn new(fabric: Arc<Mutex<Fabric>>, nhi: NhiIndex) -> io::Result<Self> {
        let function = Function::new().map_err(io::Error::other)?;
        Ok(Self {
            fabric,
            nhi,
            function: SharedFunction(Arc::new(Mutex::new(function))),
            table: Mutex::new(None),
        })
    }

    fn with_vring<R>(&self, index: u32, work: impl FnOnce(&mut Vring) -> R) -> Result<R> {
        let mut function = self.function.0.lock();
        match index {
            COMMANDS => Ok(work(&mut function.commands)),
            INTERRUPTS => Ok(work(&mut function.interrupts)),
            _ => Err(Error::InvalidParam),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.table.lock().is_some() {
            self.fabric.lock().with_nhi(self.nhi, Nhi::detach);
        }
    }
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = io::Error::other(error);
    log::warn!("vhost-user request refused: {error}");
    Error::ReqHandlerError(error)
}

/// The answer to what no device without migration, shared objects and the like is asked.
fn unsupported<T>() -> Result<T> {
    Err(Error::InvalidOperation("not supported"))
}

impl VhostUserBackendReqHandler for Session {
    fn set_owner(&self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&self) -> Result<()> {
        Ok(())
    }

    fn reset_device(&self) -> Result<()> {
        unsupported()
    }

    fn get_features(&self) -> Result<u64> {
        Ok(FEATURES | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())
    }

    fn set_features(&self, features: u64) -> Result<()> {
        if features & FEATURES != FEATURES {
            return Err(refused(
                "the guest does not take virtio 1 with event indices",
            ));
        }
        Ok(())
    }

    /// A table begins a life of the device: a guest's driver sends one when it finds the queues, and no other.
    fn set_mem_table(
        &self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let new = MemoryTable::map(regions, files).map_err(refused)?;
        let memory = new.queue_memory().map_err(refused)?;
        self.function.0.lock().restart(memory);
        let mut table = self.table.lock();
        let table = table.insert(new);
        let mut fabric = self.fabric.lock();
        fabric.with_nhi(self.nhi, |nhi| {
            nhi.attach(Box::new(self.function.clone()));
            table.map_dma(nhi.memory_mut()).map_err(refused)
        })?;
        Ok(None)
    }

    fn set_vring_num(&self, index: u32, num: u32) -> Result<()> {
        self.with_vring(index, |vring| vring.set_size(num))?
            .map_err(refused)
    }

    fn set_vring_addr(
        &self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let table = self.table.lock();
        let table = table.as_ref().ok_or_else(|| refused("no memory yet"))?;
        let address = |user| {
            table
                .guest_address(user)
                .ok_or_else(|| refused("a queue is not in the memory"))
        };
        let addresses = Addresses {
            descriptors: address(descriptor)?,
            available: address(available)?,
            used: address(used)?,
        };
        self.with_vring(index, |vring| vring.set_addresses(&addresses))?
            .map_err(refused)
    }

    fn set_vring_base(&self, index: u32, base: u32) -> Result<()> {
        // A guest without packed queues means the low half.
        self.with_vring(index, |vring| vring.set_position(base as u16))
    }

    fn get_vring_base(&self, index: u32) -> Result<VhostUserVringState> {
        self.with_vring(index, |vring| {
            vring.stop();
            VhostUserVringState::new(index, vring.position().into())
        })
    }

    fn set_vring_kick(&self, index: u8, fd: Option<File>) -> Result<()> {
        self.with_vring(index.into(), |vring| vring.set_kick(fd))?
            .map_err(refused)
    }

    fn set_vring_call(&self, index: u8, fd: Option<File>) -> Result<()> {
        self.with_vring(index.into(), |vring| vring.set_call(fd))?
            .map_err(refused)
    }

    fn set_vring_err(&self, _index: u8, _fd: Option<File>) -> Result<()> {
        Ok(())
    }

    fn get_protocol_features(&self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::empty())
    }

    fn set_protocol_features(&self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&self) -> Result<u64> {
        unsupported()
    }

    fn set_vring_enable(&self, index: u32, enable: bool) -> Result<()> {
        if !enable {
            return self.with_vring(index, Vring::stop);
        }
        let memory = self.function.0.lock().memory.clone();
        let memory = memory.ok_or_else(|| refused("no memory yet"))?;
        self.with_vring(index, |vring| vring.start(&memory))?
            .map_err(refused)
    }

    fn get_config(
        &self,
        _offset: u32,
        _size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        unsupported()
    }

    fn set_config(&self, _offset: u32, _data: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        unsupported()
    }

    fn set_gpu_socket(&self, _gpu_backend: GpuBackend) -> Result<()> {
        unsupported()
    }

    fn get_shared_object(&self, _uuid: VhostUserSharedMsg) -> Result<File> {
        unsupported()
    }

    fn get_inflight_fd(&self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        unsupported()
    }

    fn set_inflight_fd(&self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        unsupported()
    }

    fn get_max_mem_slots(&self) -> Result<u64> {
        unsupported()
    }

    fn add_mem_region(
        &self,
        _region: &VhostUserSingleMemoryRegion,
        _file: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        unsupported()
    }

    fn remove_mem_region(&self, _region: &VhostUserSingleMemoryRegion) -> Result<()> {
        unsupported()
    }

    fn set_device_state_fd(
        &self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        unsupported()
    }

    fn check_device_state(&self) -> Result<()> {
        unsupported()
    }

    fn get_shmem_config(&self) -> Result<VhostUserShMemConfig> {
        unsupported()
    }

    fn set_log_base(&self, _log: &VhostUserLog, _file: File) -> Result<()> {
        unsupported()
    }
}
