// SPDX-License-Identifier: GPL-2.0

//! A guest's side of vhost-user for unit tests: does what `virtio_uml` and `virtio_pcidev` do, by hand.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::MemfdFlags;
use vhost::vhost_user::Frontend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::VhostBackend;
use vhost::VhostUserMemoryRegionInfo;
use vhost::VringConfigData;
use vm_memory::Bytes;
use vm_memory::FileOffset;
use vm_memory::GuestAddress;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use crate::nhi::VECTORS;

pub(crate) const CONFIG_READ: u8 = 1;
pub(crate) const CONFIG_WRITE: u8 = 2;
pub(crate) const MMIO_READ: u8 = 3;
pub(crate) const MMIO_WRITE: u8 = 4;
pub(crate) const MMIO_FILL: u8 = 5;
pub(crate) const MSI: u8 = 7;

pub(crate) const REGISTERS: u8 = 0;
pub(crate) const MSIX: u8 = 2;

/// What the guest has written to the data of an MSI-X vector, but for the vector's number.
pub(crate) const MSI_DATA: u32 = 0x100;

pub(crate) const QUEUE_SIZE: u16 = 256;
/// Descriptors of a command, and the same number of its slots: what is read from the guest, and what is written to it.
const DESCRIPTORS: u16 = 2;
const SLOTS: u16 = QUEUE_SIZE / DESCRIPTORS;
const SLOT_SIZE: u64 = 0x200;
/// Offset of the answer in a slot.
const ANSWER: u64 = 0x100;

/// All memory, from guest address zero on, but the kernel's own at the beginning.
const MEMORY_START: u64 = 0x1_0000;
const MEMORY_END: u64 = 0x100_0000;
/// Where the guest's own program has guest address zero.
const USER_BASE: u64 = 0x7000_0000;
const QUEUES: [u64; 2] = [0x2_0000, 0x3_0000];
/// Offsets within a queue.
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const SLOTS_OF: [u64; 2] = [0x4_0000, 0x6_0000];

/// Buffers posted for interrupts, and bytes of each.
const INTERRUPT_BUFFERS: u16 = 10;
const INTERRUPT_SIZE: u32 = 20;

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;

/// The driver's side of a virtqueue.
pub(crate) struct FakeQueue {
    memory: GuestMemoryMmap,
    base: u64,
    slots: u64,
    added: u16,
    seen: u16,
    kick: EventFd,
    /// How often the device was kicked.
    pub(crate) kicks: u32,
    call: EventFd,
    free: Vec<u16>,
}

impl FakeQueue {
    fn new(memory: GuestMemoryMmap, index: usize) -> Self {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        Self {
            memory,
            base: QUEUES[index],
            slots: SLOTS_OF[index],
            added: 0,
            seen: 0,
            kick: event(),
            kicks: 0,
            call: event(),
            free: (0..SLOTS).collect(),
        }
    }

    /// A descriptor at `index` of the table.
    pub(crate) fn describe(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = GuestAddress(self.base + 16 * u64::from(index));
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.memory.write_slice(&bytes, at).unwrap();
    }

    /// Makes the chain that begins at `head` available, and kicks if asked to.
    pub(crate) fn publish(&mut self, head: u16) {
        let ring = self.base + AVAILABLE;
        let element = GuestAddress(ring + 4 + 2 * u64::from(self.added % QUEUE_SIZE));
        self.memory.write_obj(head.to_le(), element).unwrap();
        let old = self.added;
        self.set_available(old.wrapping_add(1));
        std::sync::atomic::fence(Ordering::SeqCst);
        let event = self.used_field(4 + 8 * u64::from(QUEUE_SIZE));
        if event == old {
            self.kick.write(1).unwrap();
            self.kicks += 1;
        }
    }

    /// Writes the index of the available ring.
    pub(crate) fn set_available(&mut self, index: u16) {
        self.added = index;
        let address = GuestAddress(self.base + AVAILABLE + 2);
        self.memory
            .store(index.to_le(), address, Ordering::Release)
            .unwrap();
    }

    fn used_field(&self, offset: u64) -> u16 {
        let address = GuestAddress(self.base + USED + offset);
        u16::from_le(self.memory.load(address, Ordering::Acquire).unwrap())
    }

    /// The next chain given back, and the number of bytes written to it.
    pub(crate) fn used(&mut self) -> Option<(u16, u32)> {
        if self.used_field(2) == self.seen {
            return None;
        }
        let element = self.base + USED + 4 + 8 * u64::from(self.seen % QUEUE_SIZE);
        let field = |offset| {
            let address = GuestAddress(element + offset);
            u32::from_le(self.memory.read_obj(address).unwrap())
        };
        let used = (field(0) as u16, field(4));
        self.seen = self.seen.wrapping_add(1);
        let event = GuestAddress(self.base + AVAILABLE + 4 + 2 * u64::from(QUEUE_SIZE));
        self.memory
            .store(self.seen.to_le(), event, Ordering::Release)
            .unwrap();
        Some(used)
    }

    /// Whether the guest has been called since the last time.
    pub(crate) fn called(&self) -> bool {
        self.call.read().is_ok()
    }

    /// Takes all chains given back for granted, and every slot with them.
    pub(crate) fn forget_used(&mut self) {
        while self.used().is_some() {}
        self.free = (0..SLOTS).collect();
    }

    fn slot(&self, slot: u16) -> u64 {
        self.slots + SLOT_SIZE * u64::from(slot)
    }
}

/// A guest on an NHI's socket.
pub(crate) struct FakeDriver {
    frontend: Frontend,
    memory: GuestMemoryMmap,
    file: File,
    pub(crate) commands: FakeQueue,
    pub(crate) interrupts: FakeQueue,
}

impl FakeDriver {
    /// Connects and sets everything up; interrupt buffers are posted.
    pub(crate) fn connect(socket: &Path) -> Self {
        let mut driver = Self::connect_only(socket);
        driver.negotiate();
        driver.share_memory();
        driver.start_queues();
        driver.post_interrupt_buffers();
        driver
    }

    /// Connects, and says nothing.
    pub(crate) fn connect_only(socket: &Path) -> Self {
        let file = rustix::fs::memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(file);
        file.set_len(MEMORY_END).unwrap();
        let map = (
            GuestAddress(MEMORY_START),
            (MEMORY_END - MEMORY_START) as usize,
            Some(FileOffset::new(file.try_clone().unwrap(), MEMORY_START)),
        );
        let memory = GuestMemoryMmap::from_ranges_with_files([map]).unwrap();
        let stream = UnixStream::connect(socket).unwrap();
        Self {
            frontend: Frontend::from_stream(stream, QUEUES.len() as u64),
            commands: FakeQueue::new(memory.clone(), 0),
            interrupts: FakeQueue::new(memory.clone(), 1),
            memory,
            file,
        }
    }

    pub(crate) fn negotiate(&mut self) {
        let frontend = &mut self.frontend;
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        let protocol = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(protocol).unwrap();
        frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_features(features).unwrap();
    }

    pub(crate) fn share_memory(&mut self) {
        use std::os::fd::AsRawFd;
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: MEMORY_START,
            memory_size: MEMORY_END - MEMORY_START,
            userspace_addr: USER_BASE + MEMORY_START,
            mmap_offset: MEMORY_START,
            mmap_handle: self.file.as_raw_fd(),
        };
        self.frontend.set_mem_table(&[region]).unwrap();
    }

    pub(crate) fn start_queues(&mut self) {
        for (index, base) in QUEUES.into_iter().enumerate() {
            self.set_queue(index, USER_BASE + base).unwrap();
            let queue = [&self.commands, &self.interrupts][index];
            self.frontend.set_vring_call(index, &queue.call).unwrap();
            self.frontend.set_vring_kick(index, &queue.kick).unwrap();
            self.frontend.set_vring_enable(index, true).unwrap();
        }
    }

    /// Tells of a queue at `address` of the guest's own program.
    pub(crate) fn set_queue(&mut self, index: usize, address: u64) -> vhost::Result<()> {
        self.frontend.set_vring_num(index, QUEUE_SIZE)?;
        self.frontend.set_vring_base(index, 0)?;
        let config = VringConfigData {
            queue_max_size: QUEUE_SIZE,
            queue_size: QUEUE_SIZE,
            flags: 0,
            desc_table_addr: address,
            avail_ring_addr: address.wrapping_add(AVAILABLE),
            used_ring_addr: address.wrapping_add(USED),
            log_addr: None,
        };
        self.frontend.set_vring_addr(index, &config)
    }

    /// Starts a queue that has been told of.
    pub(crate) fn enable_queue(&mut self, index: usize) -> vhost::Result<()> {
        self.frontend.set_vring_enable(index, true)
    }

    /// New queues, in the memory of the old ones.
    pub(crate) fn forget_queues(&mut self) {
        for base in QUEUES {
            let zeros = vec![0; (SLOTS_OF[0] - QUEUES[1]) as usize];
            self.memory.write_slice(&zeros, GuestAddress(base)).unwrap();
        }
        self.commands = FakeQueue::new(self.memory.clone(), 0);
        self.interrupts = FakeQueue::new(self.memory.clone(), 1);
    }

    fn post_interrupt_buffers(&mut self) {
        for _ in 0..INTERRUPT_BUFFERS {
            self.post_interrupt_buffer(INTERRUPT_SIZE);
        }
    }

    /// Posts a buffer of `len` bytes for an interrupt.
    pub(crate) fn post_interrupt_buffer(&mut self, len: u32) {
        let queue = &mut self.interrupts;
        let slot = queue.free.pop().unwrap();
        let address = queue.slot(slot);
        queue.describe(DESCRIPTORS * slot, address, len, WRITE, 0);
        queue.publish(DESCRIPTORS * slot);
    }

    /// Takes interrupts, without posting their buffers again. Returns their data.
    pub(crate) fn take_interrupts(&mut self) -> Vec<u32> {
        let mut taken = Vec::new();
        while let Some((head, len)) = self.interrupts.used() {
            let slot = head / DESCRIPTORS;
            self.interrupts.free.push(slot);
            if len == 0 {
                continue;
            }
            let mut message = [0; INTERRUPT_SIZE as usize];
            let address = GuestAddress(self.interrupts.slot(slot));
            self.memory.read_slice(&mut message, address).unwrap();
            assert_eq!((len, message[0], message[4]), (INTERRUPT_SIZE, MSI, 4));
            taken.push(u32::from_le_bytes(message[16..].try_into().unwrap()));
        }
        taken
    }

    /// Takes interrupts, and posts their buffers again. Returns the vectors.
    pub(crate) fn take_vectors(&mut self) -> Vec<u8> {
        let data = self.take_interrupts();
        for _ in &data {
            self.post_interrupt_buffer(INTERRUPT_SIZE);
        }
        data.iter().map(|data| (data - MSI_DATA) as u8).collect()
    }

    /// The header of a message.
    pub(crate) fn header(op: u8, bar: u8, offset: u64, size: u32) -> Vec<u8> {
        let mut header = vec![op, bar, 0, 0];
        header.extend(size.to_ne_bytes());
        header.extend(offset.to_ne_bytes());
        header
    }

    /// Posts a message with a buffer of `answer_len` bytes for the answer. Returns its slot.
    pub(crate) fn post(&mut self, message: &[u8], answer_len: u32) -> u16 {
        self.is_quiet();
        let queue = &mut self.commands;
        let slot = queue.free.pop().expect("a device that takes commands");
        let (head, address) = (DESCRIPTORS * slot, queue.slot(slot));
        let slice = GuestAddress(address);
        self.memory.write_slice(message, slice).unwrap();
        let len = message.len() as u32;
        if answer_len == 0 {
            queue.describe(head, address, len, 0, 0);
        } else {
            queue.describe(head, address, len, NEXT, head + 1);
            queue.describe(head + 1, address + ANSWER, answer_len, WRITE, 0);
        }
        queue.publish(head);
        slot
    }

    /// Posts a write, as PCI does.
    pub(crate) fn post_write(&mut self, op: u8, bar: u8, offset: u64, data: &[u8]) {
        let mut message = Self::header(op, bar, offset, data.len() as u32);
        message.extend(data);
        self.post(&message, 0);
    }

    /// Posts a read. Returns its slot.
    pub(crate) fn post_read(&mut self, op: u8, bar: u8, offset: u64, len: u32) -> u16 {
        self.post(&Self::header(op, bar, offset, len), len)
    }

    /// Takes commands given back until the one in `slot`. Returns what has been written to it, if it has been given back.
    pub(crate) fn answer(&mut self, slot: u16) -> Option<Vec<u8>> {
        while let Some((head, len)) = self.commands.used() {
            let used = head / DESCRIPTORS;
            self.commands.free.push(used);
            if used == slot {
                let mut answer = vec![0; len as usize];
                let address = GuestAddress(self.commands.slot(slot) + ANSWER);
                self.memory.read_slice(&mut answer, address).unwrap();
                return Some(answer);
            }
        }
        None
    }

    /// Whether the device has given all commands back.
    pub(crate) fn is_quiet(&mut self) -> bool {
        while let Some((head, _)) = self.commands.used() {
            self.commands.free.push(head / DESCRIPTORS);
        }
        self.commands.free.len() == usize::from(SLOTS)
    }

    /// Posts what sets all MSI-X vectors up and enables them.
    pub(crate) fn enable_msix(&mut self) {
        for vector in 0..VECTORS as u32 {
            let entry = [0, 0, MSI_DATA + vector, 0].map(u32::to_le_bytes).concat();
            self.post_write(MMIO_WRITE, MSIX, 16 * u64::from(vector), &entry);
        }
        self.post_write(CONFIG_WRITE, 0, 0x42, &0x8000u16.to_le_bytes());
    }
}
