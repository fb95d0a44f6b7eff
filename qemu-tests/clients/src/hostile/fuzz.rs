// SPDX-License-Identifier: GPL-2.0

//! Random and boundary arguments to every command and method of a device's node, and to mmap(2).

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;

use crate::dice::Dice;
use crate::uverbs::Mapping;
use crate::uverbs::Uverbs;

use super::grammar::Field;
use super::grammar::Method;
use super::grammar::Write;
use super::grammar::METHODS;
use super::grammar::WRITES;

/// Bytes of memory that may be written to and registered.
const SCRATCH: usize = 256 << 10;
/// Bytes behind it that nobody may touch: longer than any response, so that none of them gets into what the process itself
/// needs.
const GUARD: usize = 1 << 20;
/// `RDMA_DRIVER_RXE`.
const DRIVER: u32 = 14;
/// Contexts of a process.
const CONTEXTS: usize = 2;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Commands and methods that succeeded.
    pub accepted: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Mappings that were made.
    pub mapped: u64,
}

/// A process's attack.
pub struct Fuzzer {
    dice: Dice,
    nodes: Vec<Uverbs>,
    scratch: Mapping,
    mappings: Vec<(usize, usize)>,
    done: Done,
}

/// Memory to play with, and a guard behind it.
fn guarded() -> nix::Result<Mapping> {
    let scratch = Mapping::anonymous(SCRATCH + GUARD)?;
    let guard = scratch.address() + SCRATCH as u64;
    // SAFETY: A part of the new mapping, of which nobody uses more than the first `SCRATCH` bytes.
    let protected = unsafe { libc::mprotect(guard as *mut _, GUARD, libc::PROT_NONE) };
    Errno::result(protected)?;
    Ok(scratch)
}

impl Fuzzer {
    /// Opens the node, some of the times without a context in it.
    pub fn new(node: &Path, mut dice: Dice) -> nix::Result<Self> {
        let nodes = (0..CONTEXTS)
            .map(|_| match dice.once_in(5) {
                true => Uverbs::open_bare(node),
                false => Uverbs::open(node),
            })
            .collect::<nix::Result<_>>()?;
        Ok(Self {
            dice,
            nodes,
            scratch: guarded()?,
            mappings: Vec::new(),
            done: Done::default(),
        })
    }

    /// Does random things for so long.
    pub fn run(&mut self, time: Duration) -> Done {
        let end = Instant::now() + time;
        while Instant::now() < end {
            match self.dice.below(20) {
                0 => self.map(),
                1 => self.unmap(),
                2 => self.fork(),
                3 => self.read_events(),
                4..=11 => self.write(),
                _ => self.call(),
            }
        }
        self.done
    }

    fn note(&mut self, outcome: nix::Result<()>) {
        match outcome {
            Ok(()) => self.done.accepted += 1,
            Err(_) => self.done.refused += 1,
        }
    }

    /// An address: mostly of memory there is.
    fn address(&mut self) -> u64 {
        let base = self.scratch.address();
        match self.dice.below(40) {
            0 => 0,
            1 => self.dice.double(),
            2 => u64::MAX - self.dice.below(8192) as u64,
            // A kernel's, and one that no machine has.
            3 => 0xffff_8880_0000_0000,
            4 => 1 << 62,
            // The end of what there is: halves of what is written there fault.
            5 => base + SCRATCH as u64 - self.dice.below(64) as u64,
            6 => self.mapped_address().unwrap_or(base),
            7 => base + self.dice.below(SCRATCH) as u64,
            _ => base + (self.dice.below(SCRATCH / 2) as u64 & !7),
        }
    }

    /// An address in memory of the device itself.
    fn mapped_address(&mut self) -> Option<u64> {
        let count = self.mappings.len();
        if count == 0 {
            return None;
        }
        let (address, _) = self.mappings[self.dice.below(count)];
        Some(address as u64)
    }

    fn length(&mut self) -> u64 {
        match self.dice.below(12) {
            0 => 0,
            1 => 1,
            2 => self.dice.double(),
            3 => u64::MAX - self.dice.below(8192) as u64,
            4 => 1 << self.dice.below(64),
            _ => self.dice.below(SCRATCH / 4) as u64,
        }
    }

    /// A number of things: few, because what exists takes the host's memory.
    fn count(&mut self) -> u32 {
        match self.dice.below(30) {
            0 => 0,
            1 => self.dice.word() | 1 << 20,
            2 => u32::MAX - self.dice.below(3) as u32,
            3 => 1 << 31,
            4 => 1 << self.dice.below(13),
            _ => 1 + self.dice.below(64) as u32,
        }
    }

    fn handle(&mut self) -> u32 {
        match self.dice.below(20) {
            0 => self.dice.word(),
            1 => u32::MAX,
            2 => self.dice.below(1000) as u32,
            _ => self.dice.below(12) as u32,
        }
    }

    fn descriptor(&mut self) -> u32 {
        match self.dice.below(6) {
            0 => self.dice.word(),
            1 => self.dice.below(16) as u32,
            _ => u32::MAX,
        }
    }

    fn byte(&mut self, usual: u8) -> u8 {
        match self.dice.below(10) {
            0 => self.dice.word() as u8,
            1 => u8::MAX,
            2 => self.dice.below(8) as u8,
            _ => usual,
        }
    }

    fn gid(&mut self) -> [u8; 16] {
        let mut gid = [0; 16];
        match self.dice.below(4) {
            0 => gid = u128::from(self.dice.double()).to_be_bytes(),
            1 => {
                gid[..2].copy_from_slice(&[0xff, 2]);
                gid[15] = self.dice.below(4) as u8;
            }
            2 => {
                gid[..2].copy_from_slice(&[0xfe, 0x80]);
                gid[15] = self.dice.below(4) as u8;
            }
            _ => {
                gid[10..].copy_from_slice(&[0xff, 0xff, 10, 55, 0, 0]);
                gid[15] = self.dice.below(4) as u8;
            }
        }
        gid
    }

    /// The bytes of a field.
    fn field(&mut self, field: Field) -> Vec<u8> {
        match field {
            Field::Response | Field::Address => self.address().to_ne_bytes().to_vec(),
            Field::Length => self.length().to_ne_bytes().to_vec(),
            Field::Any => self.dice.double().to_ne_bytes().to_vec(),
            Field::Handle => self.handle().to_ne_bytes().to_vec(),
            Field::Count => self.count().to_ne_bytes().to_vec(),
            Field::Access | Field::Flags => {
                let flags = match self.dice.below(6) {
                    0 => self.dice.word(),
                    1 => 1 << self.dice.below(32),
                    // What a queue pair needs from RESET to INIT, to RTR, to RTS; some rights.
                    2 => 0x39,
                    3 => 0x12_9181 | 1 << 20,
                    4 => 0x1_2e01,
                    _ => self.dice.below(16) as u32,
                };
                flags.to_ne_bytes().to_vec()
            }
            Field::Descriptor => self.descriptor().to_ne_bytes().to_vec(),
            Field::Number => (self.dice.word() >> 8).to_ne_bytes().to_vec(),
            Field::Reserved => {
                let value = if self.dice.once_in(20) {
                    self.dice.word()
                } else {
                    0
                };
                value.to_ne_bytes().to_vec()
            }
            Field::Gid => self.gid().to_vec(),
            Field::Byte => {
                let usual = self.dice.below(8) as u8;
                vec![self.byte(usual)]
            }
            Field::Zero | Field::New | Field::In(_) | Field::Out(_) => {
                vec![if self.dice.once_in(30) {
                    self.byte(0)
                } else {
                    0
                }]
            }
            Field::One => vec![self.byte(1)],
            Field::QpType => vec![self.byte(2)],
        }
    }

    /// Fills the memory that commands point to with what they may take for arguments.
    fn stir(&mut self) {
        let at = self.dice.below(SCRATCH / 8 - 64) * 8;
        for index in 0..8 {
            let value = match self.dice.below(3) {
                0 => self.dice.double(),
                1 => self.address(),
                _ => self.dice.below(64) as u64 | (self.dice.below(4) as u64) << 32,
            };
            self.scratch
                .double(at + index * 8)
                .store(value, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn write(&mut self) {
        self.stir();
        let command: &Write = &WRITES[self.dice.below(WRITES.len())];
        let mut body: Vec<u8> = Vec::new();
        for field in command.fields {
            let bytes = self.field(*field);
            body.extend(bytes);
        }
        if self.dice.once_in(8) {
            let len = self.dice.below(200);
            body.resize(len, 0xa5);
        }
        let message = match command.extended {
            false => self.legacy(command.number, &body),
            true => self.extended(command.number, &body),
        };
        let node = self.dice.below(self.nodes.len());
        let outcome = self.nodes[node].write(&message);
        self.note(outcome);
    }

    /// A length in words of some size: mostly right.
    fn words(&mut self, bytes: usize, size: usize) -> u16 {
        match self.dice.below(16) {
            0 => self.dice.word() as u16,
            1 => (bytes / size) as u16 + 1,
            _ => bytes.div_ceil(size) as u16,
        }
    }

    fn legacy(&mut self, number: u32, body: &[u8]) -> Vec<u8> {
        let number = if self.dice.once_in(40) {
            self.dice.word()
        } else {
            number
        };
        let in_words = self.words(body.len() + 8, 4);
        let room = self.dice.pick(&[4, 8, 12, 16, 24, 32, 40, 64, 128, 256]);
        let out_words = self.words(room, 4);
        let mut message = number.to_ne_bytes().to_vec();
        message.extend(in_words.to_ne_bytes());
        message.extend(out_words.to_ne_bytes());
        message.extend(body);
        message
    }

    fn extended(&mut self, number: u32, body: &[u8]) -> Vec<u8> {
        const EXTENDED: u32 = 1 << 31;
        let in_words = self.words(body.len(), 8);
        let room = self.dice.pick(&[0, 8, 16, 48, 64, 256, 512]);
        let out_words = self.words(room, 8);
        let driver_out = self.dice.pick(&[0, 0, 2, 4]);
        let mut message = (number | EXTENDED).to_ne_bytes().to_vec();
        message.extend(in_words.to_ne_bytes());
        message.extend(out_words.to_ne_bytes());
        message.extend(self.address().to_ne_bytes());
        message.extend(u16::from(self.dice.once_in(30)).to_ne_bytes());
        message.extend((driver_out as u16).to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        message.resize(message.len().next_multiple_of(8), 0);
        message
    }

    /// An ioctl: of a known method, of a command in ioctl's clothes, or of anything.
    fn call(&mut self) {
        self.stir();
        let (id, attributes) = match self.dice.below(10) {
            0 => self.unknown_method(),
            1..=4 => self.command_as_method(),
            _ => {
                let method: &Method = &METHODS[self.dice.below(METHODS.len())];
                let mut attributes = Vec::new();
                for (id, field) in method.attributes {
                    if !self.dice.once_in(20) {
                        let attribute = self.attribute(*id, *field);
                        attributes.push(attribute);
                    }
                }
                (method.id, attributes)
            }
        };
        let count = attributes.len();
        let length = 24 + count * 16;
        let mut argument = vec![0u64; length / 8];
        let wrong_length = self.dice.once_in(40);
        let told = if wrong_length {
            self.dice.below(length + 1)
        } else {
            length
        };
        argument[0] =
            told as u64 | u64::from(id.0) << 16 | u64::from(id.1) << 32 | (count as u64) << 48;
        argument[1] = if self.dice.once_in(100) {
            self.dice.double()
        } else {
            0
        };
        argument[2] = match self.dice.once_in(60) {
            true => self.dice.double(),
            false => DRIVER.into(),
        };
        for (index, [first, second]) in attributes.into_iter().enumerate() {
            argument[3 + index * 2] = first;
            argument[4 + index * 2] = second;
        }
        let node = self.dice.below(self.nodes.len());
        let outcome = self.nodes[node].ioctl(&mut argument);
        self.note(outcome);
    }

    /// The two double words of an attribute.
    fn attribute(&mut self, id: u16, field: Field) -> [u64; 2] {
        let (len, data) = match field {
            Field::New => (0, 0),
            Field::Handle => (0, self.handle().into()),
            Field::Descriptor => {
                let descriptor = self.descriptor() as i32;
                (0, i64::from(descriptor) as u64)
            }
            Field::In(len) | Field::Out(len) => (len, self.address()),
            other => {
                let bytes = self.field(other);
                let mut data = [0; 8];
                let len = bytes.len().min(8);
                data[..len].copy_from_slice(&bytes[..len]);
                // Constants have 8 bytes, other values their own length.
                (
                    self.dice.pick(&[len as u16, 8, 4]),
                    u64::from_ne_bytes(data),
                )
            }
        };
        let len = match self.dice.below(40) {
            0 => self.dice.word() as u16,
            1 => self.dice.below(64) as u16,
            2 => 0,
            _ => len,
        };
        let flags = u64::from(!self.dice.once_in(4));
        let reserved = if self.dice.once_in(60) {
            self.dice.word() & 0xffff
        } else {
            0
        };
        [
            u64::from(id) | u64::from(len) << 16 | flags << 32 | u64::from(reserved) << 48,
            data,
        ]
    }

    fn unknown_method(&mut self) -> ((u16, u16), Vec<[u64; 2]>) {
        const NAMESPACE: u16 = 1 << 12;
        let mut id = || {
            let number = self.dice.below(22) as u16;
            number | if self.dice.once_in(8) { NAMESPACE } else { 0 }
        };
        let ids = (id(), id());
        let attributes = (0..self.dice.below(8))
            .map(|_| {
                let id = self.dice.below(16) as u16;
                let field = self.dice.pick(&[
                    Field::New,
                    Field::Handle,
                    Field::In(16),
                    Field::Out(64),
                    Field::Any,
                    Field::Descriptor,
                ]);
                self.attribute(id, field)
            })
            .collect();
        (ids, attributes)
    }

    /// `UVERBS_METHOD_INVOKE_WRITE`.
    fn command_as_method(&mut self) -> ((u16, u16), Vec<[u64; 2]>) {
        const EXTENDED: u64 = 1 << 31;
        const CORE_IN: u16 = 0;
        const CORE_OUT: u16 = 1;
        const COMMAND: u16 = 2;
        const DRIVER_OUT: u16 = 0x1001;
        let command: &Write = &WRITES[self.dice.below(WRITES.len())];
        let at = self.dice.below(SCRATCH / 16) & !7;
        let mut body = Vec::new();
        for field in command.fields {
            // Here the response has an attribute of its own.
            let bytes = self.field(*field);
            body.extend(bytes);
        }
        body.resize(body.len().next_multiple_of(4), 0);
        let words: Vec<u32> = body
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
            .collect();
        self.scratch.store(at, &words);
        let number = u64::from(command.number) | if command.extended { EXTENDED } else { 0 };
        let address = self.scratch.address() + at as u64;
        let mut attributes = vec![[
            u64::from(CORE_IN) | (body.len() as u64) << 16 | 1 << 32,
            address,
        ]];
        let room = self.dice.pick(&[4, 8, 16, 32, 64, 128, 256]);
        attributes.push(self.attribute(CORE_OUT, Field::Out(room)));
        attributes.push([u64::from(COMMAND) | 8 << 16 | 1 << 32, number]);
        let room = self.dice.pick(&[4, 8, 16, 24, 32]);
        attributes.push(self.attribute(DRIVER_OUT, Field::Out(room)));
        ((0, 0), attributes)
    }

    /// Maps something of the node.
    fn map(&mut self) {
        const PAGE: u64 = 4096;
        const MOST: usize = 64;
        let offset = match self.dice.below(8) {
            0 => self.dice.double() & !(PAGE - 1) & (i64::MAX as u64),
            _ => self.dice.below(400) as u64 * PAGE,
        };
        let len = match self.dice.below(8) {
            0 => self.dice.below(1 << 24),
            _ => self.dice.pick(&[1, 4096, 8192, 12288, 16384, 65536]),
        };
        let protection = self.dice.pick(&[3, 3, 3, 1, 2, 7, 0]);
        let flags = self
            .dice
            .pick(&[libc::MAP_SHARED, libc::MAP_SHARED, libc::MAP_PRIVATE]);
        let fd = self.nodes[self.dice.below(self.nodes.len())].raw();
        // SAFETY: A new mapping at an address that the kernel chooses aliases nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len.max(1),
                protection,
                flags,
                fd,
                offset as libc::off_t,
            )
        };
        if base == libc::MAP_FAILED {
            return;
        }
        self.done.mapped += 1;
        if self.mappings.len() < MOST {
            self.mappings.push((base as usize, len.max(1)));
        }
    }

    /// Unmaps a part of what was mapped, or moves it.
    fn unmap(&mut self) {
        const PAGE: usize = 4096;
        if self.mappings.is_empty() {
            return;
        }
        let index = self.dice.below(self.mappings.len());
        let (address, len) = self.mappings.swap_remove(index);
        // SAFETY: Nothing refers to what was mapped in `map`.
        unsafe {
            match self.dice.below(4) {
                0 => {
                    libc::munmap(address as *mut _, PAGE);
                }
                1 => {
                    libc::mremap(address as *mut _, len, len * 2, libc::MREMAP_MAYMOVE);
                }
                2 => {
                    libc::madvise(address as *mut _, len, self.dice.below(25) as i32);
                }
                _ => {
                    libc::munmap(address as *mut _, len);
                }
            }
        }
    }

    /// A child with all that its parent has, which it soon loses.
    fn fork(&mut self) {
        const RARELY: usize = 30;
        if !self.dice.once_in(RARELY) {
            return;
        }
        // SAFETY: The process has one thread, and the child only makes calls to the kernel.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            for _ in 0..4 {
                // The kernel refuses this to whoever has not opened the node.
                self.write();
                self.call();
                self.map();
                self.unmap();
            }
            // SAFETY: Ends the child.
            unsafe { libc::_exit(0) };
        }
        if pid > 0 {
            if self.dice.once_in(2) {
                // SAFETY: The child has not been waited for.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            // SAFETY: No status is asked for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }

    /// Reads from descriptors that commands may have made.
    fn read_events(&mut self) {
        let fd = 3 + self.dice.below(12) as i32;
        if self.nodes.iter().any(|node| node.raw() == fd) {
            return;
        }
        let mut bytes = [0u8; 64];
        let len = self.dice.pick(&[0, 1, 8, 16, 64]);
        // SAFETY: The flags of a descriptor and a read into memory of that length; whatever it is, it belongs to
        // this process, which uses none but the nodes.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags >= 0 {
                libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
                libc::read(fd, bytes.as_mut_ptr().cast(), len);
                if self.dice.once_in(10) {
                    libc::close(fd);
                }
            }
        }
    }
}
