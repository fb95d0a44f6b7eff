// SPDX-License-Identifier: GPL-2.0

//! A virtqueue, and the files by which its two sides wake each other.

use std::fs::File;
use std::io;
use std::io::Write;
use std::num::NonZeroU16;
use std::sync::atomic::fence;
use std::sync::atomic::Ordering;

use virtio_queue::DescriptorChain;
use virtio_queue::Error;
use virtio_queue::Queue;
use virtio_queue::QueueT;
use vm_memory::Address;
use vm_memory::Bytes;

use super::memory::QueueMemory;
use crate::attachment::Kick;
use crate::attachment::Readiness;
use crate::guest_memory::GuestAddress;

/// Most buffers of a queue. `virtio_uml` makes queues of 256.
const MAX_SIZE: u16 = 1024;

/// Bytes of a used ring before its elements, and of an element. The available event is behind the last one (virtio 1.3, 2.7.8).
const USED_RING_HEADER: u64 = 4;
const USED_RING_ELEMENT: u64 = 8;

/// Where a queue is in the guest's memory.
pub(super) struct Addresses {
    pub(super) descriptors: GuestAddress,
    pub(super) available: GuestAddress,
    pub(super) used: GuestAddress,
}

/// A virtqueue. What a guest does wrong with it stops it until the guest sets it up anew.
pub(super) struct Vring {
    queue: Queue,
    kick: Option<Kick>,
    call: Option<File>,
}

impl Vring {
    /// Not set up.
    pub(super) fn new() -> Result<Self, Error> {
        let mut queue = Queue::new(MAX_SIZE)?;
        queue.set_event_idx(true);
        Ok(Self {
            queue,
            kick: None,
            call: None,
        })
    }

    /// Sets the number of buffers.
    ///
    /// # Errors
    ///
    /// When it is not a power of two, or too many.
    pub(super) fn set_size(&mut self, size: u32) -> Result<(), Error> {
        let size = u16::try_from(size).map_err(|_| Error::InvalidSize)?;
        self.queue.try_set_size(size)
    }

    /// Sets where the queue is.
    ///
    /// # Errors
    ///
    /// When something is not aligned.
    pub(super) fn set_addresses(&mut self, addresses: &Addresses) -> Result<(), Error> {
        self.queue
            .try_set_desc_table_address(addresses.descriptors)?;
        self.queue.try_set_avail_ring_address(addresses.available)?;
        self.queue.try_set_used_ring_address(addresses.used)
    }

    /// Sets the next buffer to take.
    pub(super) fn set_position(&mut self, position: u16) {
        self.queue.set_next_avail(position);
    }

    /// The next buffer to take.
    pub(super) fn position(&self) -> u16 {
        self.queue.next_avail()
    }

    /// Sets the file that the guest makes readable when it has added buffers, or none.
    ///
    /// # Errors
    ///
    /// When it is not a file that can be waited for.
    pub(super) fn set_kick(&mut self, kick: Option<File>) -> io::Result<()> {
        if let Some(kick) = &kick {
            rustix::io::ioctl_fionbio(kick, true)?;
        }
        self.kick = kick.map(Kick::new);
        Ok(())
    }

    /// Sets the file by which the guest is told of used buffers, or none.
    ///
    /// # Errors
    ///
    /// When it is not a file that can be written without waiting.
    pub(super) fn set_call(&mut self, call: Option<File>) -> io::Result<()> {
        if let Some(call) = &call {
            rustix::io::ioctl_fionbio(call, true)?;
        }
        self.call = call;
        Ok(())
    }

    /// Starts the queue.
    ///
    /// # Errors
    ///
    /// When it is not all in `memory`.
    pub(super) fn start(&mut self, memory: &QueueMemory) -> Result<(), Error> {
        self.queue.set_ready(true);
        if !self.queue.is_valid(memory) {
            self.queue.set_ready(false);
            return Err(Error::QueueNotReady);
        }
        let used = self.queue.used_idx(memory, Ordering::Relaxed)?;
        self.queue.set_next_used(used.0);
        Ok(())
    }

    /// Stops the queue.
    pub(super) fn stop(&mut self) {
        self.queue.set_ready(false);
    }

    /// The number of buffers that the guest has added.
    pub(super) fn added(&mut self, memory: &QueueMemory) -> u16 {
        if !self.queue.ready() {
            return 0;
        }
        let available = self.queue.avail_idx(memory, Ordering::Acquire);
        let added = available.map(|index| index.0.wrapping_sub(self.queue.next_avail()));
        match added {
            Ok(added) if added <= self.queue.size() => added,
            Ok(_) => {
                self.stop_because(&Error::InvalidAvailRingIndex);
                0
            }
            Err(error) => {
                self.stop_because(&error);
                0
            }
        }
    }

    /// Takes the next buffer, of those [`added`](Self::added).
    pub(super) fn take<'m>(
        &mut self,
        memory: &'m QueueMemory,
    ) -> Option<DescriptorChain<&'m QueueMemory>> {
        self.queue.pop_descriptor_chain(memory)
    }

    /// Gives a buffer back, `len` bytes of which have been written.
    pub(super) fn give_back(&mut self, memory: &QueueMemory, head: u16, len: usize) {
        if let Err(error) = self.queue.add_used(memory, head, len as u32) {
            self.stop_because(&error);
        }
    }

    /// Tells the guest of the buffers given back, if it wants to know.
    pub(super) fn call(&mut self, memory: &QueueMemory) {
        const ONE_EVENT: [u8; 8] = 1u64.to_ne_bytes();
        match (self.queue.needs_notification(memory), &mut self.call) {
            (Ok(true), Some(call)) => {
                // It fails when so many calls wait that one more is of no use, or when the guest is gone.
                let _ = call.write(&ONE_EVENT);
            }
            (Ok(_), _) => (),
            (Err(error), _) => self.stop_because(&error),
        }
    }

    /// Asks for a kick when so many buffers have been added. Adds to `kicks` what becomes readable then.
    pub(super) fn await_kick(
        &mut self,
        memory: &QueueMemory,
        buffers: NonZeroU16,
        kicks: &mut Vec<Kick>,
    ) -> Readiness {
        if !self.queue.ready() {
            return Readiness::Quiet;
        }
        let buffers = buffers.get();
        let last = self.queue.next_avail().wrapping_add(buffers - 1);
        if let Err(error) = self.set_available_event(memory, last) {
            self.stop_because(&error);
            return Readiness::Quiet;
        }
        // The guest adds a buffer, and then looks which one it is to kick for.
        fence(Ordering::SeqCst);
        if self.added(memory) >= buffers {
            return Readiness::Ready;
        }
        kicks.extend(self.kick.clone());
        Readiness::Quiet
    }

    /// Says at which buffer the guest is to kick. `virtio_queue` knows no other than the next.
    fn set_available_event(&self, memory: &QueueMemory, index: u16) -> Result<(), Error> {
        let offset = USED_RING_HEADER + USED_RING_ELEMENT * u64::from(self.queue.size());
        let address = GuestAddress(self.queue.used_ring())
            .checked_add(offset)
            .ok_or(Error::AddressOverflow)?;
        memory
            .store(index.to_le(), address, Ordering::Relaxed)
            .map_err(Error::GuestMemory)
    }

    fn stop_because(&mut self, error: &Error) {
        log::warn!("the guest's virtqueue is bad: {error}");
        self.stop();
    }
}
