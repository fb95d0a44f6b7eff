// SPDX-License-Identifier: GPL-2.0

//! The PCI function that a guest finds behind its queues.

use std::io;
use std::io::Read;
use std::io::Write;
use std::num::NonZeroU16;
use std::sync::Arc;

use parking_lot::Mutex;
use virtio_queue::DescriptorChain;

use super::memory::QueueMemory;
use super::message;
use super::message::Command;
use super::message::Operation;
use super::message::Space;
use super::vring::Vring;
use crate::attachment::Accesses;
use crate::attachment::Attachment;
use crate::attachment::Doorbells;
use crate::attachment::Kick;
use crate::attachment::Readiness;
use crate::channel::Progress;
use crate::msix::MsixTable;
use crate::nhi::register::REGISTER_FILE_SIZE;
use crate::nhi::InterruptSink;
use crate::nhi::Nhi;
use crate::nhi::Raised;
use crate::nhi::Vector;
use crate::pci_config::BaseAddresses;
use crate::pci_config::PciConfig;

/// Longest access: all registers.
const MAX_ACCESS: usize = REGISTER_FILE_SIZE;

/// Longer accesses are done in pieces of that many bytes, whole registers.
const PIECE: usize = 64;

/// A function, shared between the session that sets its queues up and the NHI that is behind it.
///
/// The NHI works on it with the fabric locked; so nobody may lock the fabric while it is locked.
#[derive(Clone)]
pub(super) struct SharedFunction(pub(super) Arc<Mutex<Function>>);

/// A PCI function: its queues, and what the NHI knows nothing of.
pub(super) struct Function {
    /// Nothing before the guest has shared it.
    pub(super) memory: Option<QueueMemory>,
    /// Brings register accesses.
    pub(super) commands: Vring,
    /// Brings buffers for interrupt messages.
    pub(super) interrupts: Vring,
    pci: Pci,
    bad_commands: u64,
}

/// The parts of a function that are the same for every device.
struct Pci {
    config: PciConfig,
    msix: MsixTable,
}

impl Function {
    /// A function after a reset, its queues not set up.
    pub(super) fn new() -> Result<Self, virtio_queue::Error> {
        Ok(Self {
            memory: None,
            commands: Vring::new()?,
            interrupts: Vring::new()?,
            pci: Pci::new(),
            bad_commands: 0,
        })
    }

    /// Resets the function of a guest that has shared `memory`. The queues stop.
    pub(super) fn restart(&mut self, memory: QueueMemory) {
        self.commands.stop();
        self.interrupts.stop();
        self.memory = Some(memory);
        self.pci = Pci::new();
    }

    fn take_accesses(&mut self, nhi: &mut Nhi) -> Progress {
        let Some(memory) = &self.memory else {
            return Progress::Idle;
        };
        let added = self.commands.added(memory);
        if added == 0 {
            return Progress::Idle;
        }
        for _ in 0..added {
            let Some(chain) = self.commands.take(memory) else {
                break;
            };
            let head = chain.head_index();
            let written = self.pci.execute(memory, chain, nhi).unwrap_or_else(|error| {
                if self.bad_commands == 0 {
                    log::warn!("the guest's PCI access is bad: {error}; further ones are ignored silently");
                }
                self.bad_commands += 1;
                0
            });
            self.commands.give_back(memory, head, written);
        }
        self.commands.call(memory);
        Progress::Moved
    }

    fn send_interrupts(&mut self) {
        let Some(memory) = &self.memory else {
            return;
        };
        if !self.pci.has_due_interrupt() {
            return;
        }
        for _ in 0..self.interrupts.added(memory) {
            let Some((vector, message)) = self.pci.msix.due() else {
                break;
            };
            let Some(chain) = self.interrupts.take(memory) else {
                break;
            };
            let head = chain.head_index();
            let bytes = message::encode_interrupt(message);
            let written = match write_whole(memory, chain, &bytes) {
                Ok(()) => {
                    self.pci.msix.sent(vector);
                    bytes.len()
                }
                // The buffer is of no use; the interrupt waits for the next.
                Err(_) => 0,
            };
            self.interrupts.give_back(memory, head, written);
        }
        self.interrupts.call(memory);
    }

    fn await_kick(&mut self, accesses: Accesses, kicks: &mut Vec<Kick>) -> Readiness {
        let Some(memory) = &self.memory else {
            return Readiness::Quiet;
        };
        let commands = self.commands.await_kick(memory, accesses.0, kicks);
        if commands == Readiness::Quiet && self.pci.has_due_interrupt() {
            return self.interrupts.await_kick(memory, NonZeroU16::MIN, kicks);
        }
        commands
    }
}

impl Pci {
    fn new() -> Self {
        Self {
            config: PciConfig::new(BaseAddresses::OfDevice),
            msix: MsixTable::new(),
        }
    }

    fn has_due_interrupt(&self) -> bool {
        self.config.is_msix_on() && self.msix.due().is_some()
    }

    /// Does what the command in `chain` asks for. Returns the number of bytes written to its buffer.
    fn execute(
        &mut self,
        memory: &QueueMemory,
        chain: DescriptorChain<&QueueMemory>,
        nhi: &mut Nhi,
    ) -> io::Result<usize> {
        let mut data = chain.clone().reader(memory).map_err(io::Error::other)?;
        let mut header = [0; message::HEADER_SIZE];
        data.read_exact(&mut header)?;
        let command = Command::decode(header).ok_or(io::ErrorKind::Unsupported)?;
        let size = command.size as usize;
        if size > MAX_ACCESS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut piece = [0; PIECE];
        match command.operation {
            Operation::Read => {
                let mut buffer = chain.writer(memory).map_err(io::Error::other)?;
                for (offset, len) in pieces(&command, buffer.available_bytes()) {
                    let piece = &mut piece[..len];
                    self.read(nhi, command.space, offset, piece);
                    buffer.write_all(piece)?;
                }
                Ok(buffer.bytes_written())
            }
            Operation::Write => {
                for (offset, len) in pieces(&command, data.available_bytes()) {
                    let piece = &mut piece[..len];
                    data.read_exact(piece)?;
                    self.write(nhi, command.space, offset, piece);
                }
                Ok(0)
            }
            Operation::Fill => {
                let mut byte = [0];
                data.read_exact(&mut byte)?;
                piece.fill(byte[0]);
                for (offset, len) in pieces(&command, size) {
                    self.write(nhi, command.space, offset, &piece[..len]);
                }
                Ok(0)
            }
        }
    }

    fn read(&self, nhi: &mut Nhi, space: Space, offset: u64, data: &mut [u8]) {
        match space {
            Space::Config => self.config.read(offset, data),
            Space::Registers => nhi.read_register(offset, data),
            Space::Msix => self.msix.read(offset as usize, data),
            Space::Nothing => data.fill(u8::MAX),
        }
    }

    fn write(&mut self, nhi: &mut Nhi, space: Space, offset: u64, data: &[u8]) {
        match space {
            Space::Config => self.config.write(offset, data),
            Space::Registers => nhi.write_register(offset, data),
            Space::Msix => self.msix.write(offset as usize, data),
            Space::Nothing => (),
        }
    }
}

/// Offsets and lengths of the pieces of a command that has a buffer of `room` bytes. Nothing is past the last address.
fn pieces(command: &Command, room: usize) -> impl Iterator<Item = (u64, usize)> {
    let start = command.offset;
    let len = (command.size as usize).min(room);
    (0..len).step_by(PIECE).map_while(move |done| {
        let offset = start.checked_add(done as u64)?;
        Some((offset, PIECE.min(len - done)))
    })
}

/// Writes `bytes` to a buffer that must have room for all of them.
fn write_whole(
    memory: &QueueMemory,
    chain: DescriptorChain<&QueueMemory>,
    bytes: &[u8],
) -> io::Result<()> {
    let mut buffer = chain.writer(memory).map_err(io::Error::other)?;
    if buffer.available_bytes() < bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    buffer.write_all(bytes)
}

impl InterruptSink for SharedFunction {
    fn raise(&mut self, vector: Vector) -> Raised {
        if self.0.lock().pci.msix.set_pending(vector) {
            Raised::Sent
        } else {
            Raised::Merged
        }
    }
}

impl Attachment for SharedFunction {
    fn doorbells(&self) -> Doorbells {
        Doorbells::Queue
    }

    fn take_accesses(&mut self, nhi: &mut Nhi) -> Progress {
        self.0.lock().take_accesses(nhi)
    }

    fn send_interrupts(&mut self) {
        self.0.lock().send_interrupts();
    }

    fn await_kick(&mut self, accesses: Accesses, kicks: &mut Vec<Kick>) -> Readiness {
        self.0.lock().await_kick(accesses, kicks)
    }
}
