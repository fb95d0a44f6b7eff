// SPDX-License-Identifier: GPL-2.0

//! The USB4 host interface of one host: registers, rings and interrupts.
//!
//! This knows nothing of how a guest reaches it: a front end maps memory, and attaches what passes register accesses
//! on and takes interrupts ([`Attachment`]).

mod interrupt;
pub mod register;
mod ring;

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Instant;

use interrupt::InterruptLatch;
use interrupt::Source;
use register::RegisterFile;
use ring::Ring;

pub use interrupt::InterruptSink;
pub use interrupt::Raised;
pub use interrupt::Vector;
pub use interrupt::VECTORS;
pub use ring::Completion;
pub use ring::RingFault;
pub use ring::TxFrame;

use crate::attachment::Accesses;
use crate::attachment::Attachment;
use crate::attachment::Doorbells;
use crate::attachment::Kick;
use crate::attachment::Readiness;
use crate::channel::Progress;
use crate::connection::Connection;
use crate::control_packet::ControlPacket;
use crate::counters::NhiCounters;
use crate::frame::FrameMarks;
use crate::frame::Integrity;
use crate::frame::PdfField;
use crate::frame::Signal;
use crate::guest_memory::DmaError;
use crate::guest_memory::GuestMemory;
use crate::guest_memory::GuestSlice;
use crate::ids::PortNumber;
use crate::ids::RingNumber;
use crate::ids::RINGS;
use crate::ring_status::RingKind;
use crate::ring_status::RingStatus;
use crate::router::Router;
use crate::topology::NhiRef;

/// Most control packets kept for a host that does not take them.
const MAX_OUTBOX: usize = 256;

/// A receive ring, as a sender finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// It takes that many frames.
    Ready(u16),
    /// It is stopped or has no descriptors posted.
    Full,
}

/// Frames that wait for a full receive ring wait until a share of it is free: a guest gives buffers back one by one, and each kick costs
/// both sides more than a frame.
const HOLD_SHARE: u16 = 4;

/// But no longer than for so many of them: a guest has buffers for a hundred writes that it does not wait for
/// (`VIRTIO_PCIDEV_WRITE_BUFS`), and goes on writing while the cable wakes up.
const LONGEST_HOLD: u16 = 32;

/// An NHI and the router behind it.
pub struct Nhi {
    name: NhiRef,
    registers: RegisterFile,
    memory: GuestMemory,
    attachment: Option<Box<dyn Attachment>>,
    interrupts: InterruptLatch,
    tx: [Ring; RINGS],
    rx: [Ring; RINGS],
    /// Control packets for the host, until its control ring takes them.
    outbox: VecDeque<ControlPacket>,
    /// Frames wait for room in a receive ring: the accesses after which it is looked at again.
    hold: Option<Accesses>,
    counters: NhiCounters,
    /// The host router.
    pub router: Router,
}

impl Nhi {
    /// An NHI just powered on, no guest attached; its router has unique ID `uid`.
    ///
    /// # Errors
    ///
    /// When there is no memory for the registers.
    pub fn new(name: NhiRef, uid: u64) -> std::io::Result<Self> {
        let nhi = Self {
            name,
            registers: RegisterFile::new()?,
            memory: GuestMemory::default(),
            attachment: None,
            interrupts: InterruptLatch::new(),
            tx: Default::default(),
            rx: Default::default(),
            outbox: VecDeque::new(),
            hold: None,
            counters: NhiCounters::default(),
            router: Router::new(uid),
        };
        nhi.set_capabilities();
        Ok(nhi)
    }

    /// Which NHI this is.
    pub fn name(&self) -> &NhiRef {
        &self.name
    }

    /// Whether a guest is attached.
    pub fn connection(&self) -> Connection {
        match self.attachment {
            Some(_) => Connection::Open,
            None => Connection::Closed,
        }
    }

    /// Its counters.
    pub fn counters(&self) -> &NhiCounters {
        &self.counters
    }

    /// The registers, for a front end that shares them with the guest.
    pub fn registers(&self) -> &RegisterFile {
        &self.registers
    }

    /// The guest's memory, for the front end to map.
    pub fn memory_mut(&mut self) -> &mut GuestMemory {
        &mut self.memory
    }

    /// A guest appears, joined to the NHI by `attachment`.
    pub fn attach(&mut self, attachment: Box<dyn Attachment>) {
        self.reset();
        self.memory.clear();
        self.attachment = Some(attachment);
    }

    /// The guest is gone.
    pub fn detach(&mut self) {
        self.reset();
        self.memory.clear();
        self.attachment = None;
    }

    /// How the guest, if there is one, says that there is something to do.
    pub fn doorbells(&self) -> Option<Doorbells> {
        Some(self.attachment.as_ref()?.doorbells())
    }

    /// Does the register accesses that the guest has queued.
    ///
    /// Guests that queue them do not wait for writes to take effect: a driver that has stopped a ring frees its buffers
    /// at once. So this comes before every frame.
    pub fn take_accesses(&mut self) -> Progress {
        let Some(mut attachment) = self.attachment.take() else {
            return Progress::Idle;
        };
        let progress = attachment.take_accesses(self);
        self.attachment = Some(attachment);
        progress
    }

    /// Frames wait for room in a receive ring.
    pub fn note_hold(&mut self, ring: RingNumber) {
        let share = self.rx[ring.index()].size() / HOLD_SHARE;
        let accesses = NonZeroU16::new(share.min(LONGEST_HOLD)).map_or(Accesses::ONE, Accesses);
        self.hold = Some(self.hold.map_or(accesses, |hold| hold.min(accesses)));
    }

    /// No frames wait, as far as is known.
    pub fn forget_hold(&mut self) {
        self.hold = None;
    }

    /// Asks for a kick at the guest's next register access, if it queues them, or at one by which a receive ring that frames wait for
    /// may have room for many. Adds to `kicks` what becomes readable then.
    pub fn await_kick(&mut self, kicks: &mut Vec<Kick>) -> Readiness {
        match &mut self.attachment {
            Some(attachment) => attachment.await_kick(self.hold.unwrap_or(Accesses::ONE), kicks),
            None => Readiness::Quiet,
        }
    }

    /// Back to the state after power-on, router included.
    pub fn reset(&mut self) {
        self.reset_interface();
        self.router.reset();
    }

    /// The guest's machine is reset, which also ends its sleep in S3: a router that was put to sleep before has kept
    /// its state.
    pub fn reset_by_machine(&mut self) {
        if self.router.is_asleep() {
            self.reset_interface();
        } else {
            self.reset();
        }
    }

    fn reset_interface(&mut self) {
        self.tx = Default::default();
        self.rx = Default::default();
        self.interrupts = InterruptLatch::new();
        self.outbox.clear();
        self.registers.clear();
        self.set_capabilities();
        self.counters.resets += 1;
    }

    fn set_capabilities(&self) {
        self.registers.store(
            register::CAPABILITIES,
            RINGS as u32 | register::CAPABILITIES_VERSION_2,
        );
    }

    /// The guest reads `data.len()` bytes of the registers at `offset`.
    pub fn read_register(&mut self, offset: u64, data: &mut [u8]) {
        self.counters.traps += 1;
        data.fill(0);
        let Some(offset) = within_registers(offset) else {
            return;
        };
        for (position, byte) in (offset..register::REGISTER_FILE_SIZE).zip(data) {
            let value = match position {
                // Interrupt status clears itself as the interrupt is raised.
                register::NOTIFY_BASE..register::NOTIFY_END => 0,
                _ => self.registers.load(position),
            };
            *byte = value.to_le_bytes()[position % size_of::<u32>()];
        }
    }

    /// The guest writes `data` to the registers at `offset`. All DMA that a write stops has ended
    /// when this returns.
    pub fn write_register(&mut self, offset: u64, data: &[u8]) {
        self.counters.traps += 1;
        let Some(offset) = within_registers(offset) else {
            return;
        };
        let dwords = (offset..register::REGISTER_FILE_SIZE).step_by(size_of::<u32>());
        for (position, chunk) in dwords.zip(data.chunks(size_of::<u32>())) {
            // The driver writes whole registers only.
            if let (Ok(bytes), 0) = (chunk.try_into(), position % size_of::<u32>()) {
                self.write_dword(position, u32::from_le_bytes(bytes));
            }
        }
    }

    fn write_dword(&mut self, offset: usize, value: u32) {
        const OPTIONS_SIZE: usize = RINGS * register::OPTIONS_STRIDE;
        const TX_OPTIONS_END: usize = register::TX_OPTIONS_BASE + OPTIONS_SIZE;
        const RX_OPTIONS_END: usize = register::RX_OPTIONS_BASE + OPTIONS_SIZE;
        match offset {
            register::CAPABILITIES => return,
            register::RESET => {
                if value & register::RESET_HOST_ROUTER != 0 {
                    self.reset();
                }
                return;
            }
            _ => self.registers.store(offset, value),
        }
        match offset {
            register::TX_OPTIONS_BASE..TX_OPTIONS_END => {
                let within = offset - register::TX_OPTIONS_BASE;
                if let Some(ring) = ring_of_options(within) {
                    self.set_ring_options(Source::Tx(ring), value);
                }
            }
            register::RX_OPTIONS_BASE..RX_OPTIONS_END => {
                let within = offset - register::RX_OPTIONS_BASE;
                if let Some(ring) = ring_of_options(within) {
                    self.set_ring_options(Source::Rx(ring), value);
                }
            }
            _ => (),
        }
    }

    fn set_ring_options(&mut self, source: Source, options: u32) {
        let (ring, base, masks) = match source {
            Source::Tx(number) => (
                &mut self.tx[number.index()],
                register::TX_RING_BASE + number.index() * register::RING_STRIDE,
                u32::MAX,
            ),
            Source::Rx(number) => {
                let options = number.index() * register::OPTIONS_STRIDE;
                (
                    &mut self.rx[number.index()],
                    register::RX_RING_BASE + number.index() * register::RING_STRIDE,
                    self.registers
                        .load(register::RX_OPTIONS_BASE + options + register::RX_OPTIONS_MASKS),
                )
            }
        };
        ring.set_options(
            options,
            self.registers.load_u64(base + register::RING_ADDRESS),
            self.registers.load(base + register::RING_SIZE),
            masks,
        );
        log::debug!(
            "{}-nhi{}: {source:?} {}",
            self.name.host,
            self.name.nhi,
            if ring.is_enabled() { "on" } else { "off" }
        );
        if !ring.is_enabled() {
            self.interrupts.clear(source);
        } else if source == Source::Tx(RingNumber::CONTROL) && self.router.is_asleep() {
            // The driver is awake and about to talk to its router. What came before it slept is of no use any more.
            self.outbox.clear();
            self.router.wake();
        }
    }

    /// Whether the host's control channel runs and its router takes hotplug events of `port`.
    pub fn is_port_ready(&self, port: PortNumber) -> bool {
        let control = RingNumber::CONTROL.index();
        self.tx[control].is_enabled()
            && self.rx[control].is_enabled()
            && self.router.is_port_ready(port)
    }

    /// The enabled transmit rings but the control channel's.
    pub fn data_tx_rings(&self) -> impl Iterator<Item = RingNumber> {
        // Copied out so that frames can be moved while the rings are walked.
        let enabled = self
            .tx
            .iter()
            .enumerate()
            .fold(0u32, |bits, (index, ring)| {
                bits | u32::from(ring.is_enabled()) << index
            });
        RingNumber::data().filter(move |ring| enabled >> ring.index() & 1 != 0)
    }

    /// Whether the driver asks for end-to-end flow control on a transmit ring.
    pub fn is_tx_e2e(&self, ring: RingNumber) -> bool {
        self.tx[ring.index()].is_e2e()
    }

    /// Whether the driver asks for end-to-end flow control on a receive ring.
    pub fn is_rx_e2e(&self, ring: RingNumber) -> bool {
        self.rx[ring.index()].is_e2e()
    }

    /// Whether a receive ring takes frames with `marks`.
    pub fn accepts(&self, ring: RingNumber, marks: FrameMarks) -> bool {
        self.rx[ring.index()].accepts(marks)
    }

    /// The rings that the driver has started, the control channel's among them.
    pub fn rings(&self) -> Vec<RingStatus> {
        let sources = (0..RINGS).filter_map(RingNumber::at);
        let sources = sources.flat_map(|ring| [Source::Tx(ring), Source::Rx(ring)]);
        let status = |source| {
            let (kind, number) = match source {
                Source::Tx(number) => (RingKind::Transmit, number),
                Source::Rx(number) => (RingKind::Receive, number),
            };
            let ring = self.ring(source);
            ring.is_enabled().then(|| RingStatus {
                kind,
                number: number.index() as u8,
                posted: self.available(source).ok().filter(|_| !ring.is_broken()),
                interrupt: self.interrupts.state(&self.registers, source),
            })
        };
        sources.filter_map(status).collect()
    }

    fn ring(&self, source: Source) -> &Ring {
        match source {
            Source::Tx(number) => &self.tx[number.index()],
            Source::Rx(number) => &self.rx[number.index()],
        }
    }

    /// Descriptors of a ring that are posted and not completed.
    fn available(&self, source: Source) -> Result<u16, DmaError> {
        let (base, number, shift) = match source {
            Source::Tx(number) => (register::TX_RING_BASE, number, u16::BITS),
            Source::Rx(number) => (register::RX_RING_BASE, number, 0),
        };
        let base = base + number.index() * register::RING_STRIDE;
        let posted = (self.registers.load(base + register::RING_INDEX) >> shift) as u16;
        self.ring(source).available(posted)
    }

    /// Number of frames a transmit ring holds.
    pub fn tx_available(&mut self, ring: RingNumber) -> u16 {
        let available = self.available(Source::Tx(ring));
        available.unwrap_or_else(|error| {
            self.break_down(Source::Tx(ring), error);
            0
        })
    }

    /// What a receive ring takes.
    pub fn rx_available(&mut self, ring: RingNumber) -> Receiver {
        match self.available(Source::Rx(ring)) {
            Ok(0) => Receiver::Full,
            Ok(frames) => Receiver::Ready(frames),
            Err(error) => {
                self.break_down(Source::Rx(ring), error);
                Receiver::Full
            }
        }
    }

    /// The next frame of a transmit ring that holds one.
    pub fn peek_tx(&self, ring: RingNumber) -> Result<TxFrame<'_>, RingFault> {
        self.tx[ring.index()].peek_tx(&self.memory)
    }

    /// Completes the next descriptor of a transmit ring.
    pub fn complete_tx(&mut self, ring: RingNumber) {
        match self.tx[ring.index()].complete_tx(&self.memory) {
            Ok(Completion::Interrupt) => self.interrupts.latch(Source::Tx(ring)),
            Ok(Completion::Silent) => (),
            Err(error) => self.break_down(Source::Tx(ring), error),
        }
    }

    /// Gets the next frame of a transmit ring, which is bad, out of the way.
    pub fn skip_bad_tx(&mut self, ring: RingNumber, fault: RingFault) {
        match fault {
            RingFault::Descriptor(error) => self.break_down(Source::Tx(ring), error),
            RingFault::Buffer(error) => {
                self.count_bad_dma(Source::Tx(ring), error);
                self.complete_tx(ring);
            }
        }
    }

    /// Puts a frame of `len` bytes into a receive ring that takes one; `fill` writes the payload
    /// into the buffer it is given, which is shorter than the frame if the driver's buffers are.
    pub fn receive(
        &mut self,
        ring: RingNumber,
        len: usize,
        marks: FrameMarks,
        integrity: Integrity,
        signal: Signal,
        fill: impl FnOnce(GuestSlice<'_>) -> Result<(), DmaError>,
    ) {
        let source = Source::Rx(ring);
        let filled = match self.rx[ring.index()].peek_rx(&self.memory, len) {
            Ok(buffer) => fill(buffer),
            Err(RingFault::Buffer(error)) => Err(error),
            Err(RingFault::Descriptor(error)) => return self.break_down(source, error),
        };
        // A frame without a buffer completes its descriptor all the same: the driver sees
        // garbage of its own making instead of a ring that hangs.
        if let Err(error) = filled {
            self.count_bad_dma(source, error);
        }
        match self.rx[ring.index()].complete_rx(&self.memory, len, marks, integrity) {
            Ok(Completion::Interrupt) if signal == Signal::AsAsked => {
                self.interrupts.latch(source);
            }
            Ok(_) => (),
            Err(error) => self.break_down(source, error),
        }
    }

    /// The next control packet from the host, if there is one; malformed ones are counted and
    /// skipped.
    pub fn next_control_packet(&mut self) -> Option<ControlPacket> {
        let ring = RingNumber::CONTROL;
        while self.tx_available(ring) > 0 {
            let packet = match self.peek_tx(ring) {
                Ok(frame) => ControlPacket::decode(frame.marks.eof, &frame.payload.to_vec()),
                Err(fault) => {
                    self.skip_bad_tx(ring, fault);
                    continue;
                }
            };
            self.complete_tx(ring);
            match packet {
                Ok(packet) => {
                    self.counters.control_packets += 1;
                    return Some(packet);
                }
                Err(error) => {
                    log::warn!(
                        "{}-nhi{}: ignoring control packet: {error}",
                        self.name.host,
                        self.name.nhi
                    );
                    self.counters.bad_control_packets += 1;
                }
            }
        }
        None
    }

    /// Queues a control packet for the host. The oldest is dropped when the host takes none, as
    /// a router does.
    pub fn send_control(&mut self, packet: ControlPacket) {
        if self.outbox.len() == MAX_OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(packet);
    }

    /// Puts queued control packets into the host's control ring, as many as it takes.
    pub fn deliver_control(&mut self) {
        let ring = RingNumber::CONTROL;
        while !self.outbox.is_empty() {
            self.take_accesses();
            let Receiver::Ready(_) = self.rx_available(ring) else {
                return;
            };
            let Some(packet) = self.outbox.pop_front() else {
                return;
            };
            let bytes = packet.encode();
            // The driver insists on a start of frame of zero (`check_header()` in ctl.c).
            let marks = FrameMarks {
                sof: PdfField(0),
                eof: packet.kind.into(),
            };
            self.receive(
                ring,
                bytes.len(),
                marks,
                Integrity::Intact,
                Signal::AsAsked,
                |buffer| buffer.write(&bytes[..buffer.len()]),
            );
        }
    }

    /// Raises the interrupts that are due.
    pub fn fire_interrupts(&mut self, now: Instant) {
        let Some(attachment) = &mut self.attachment else {
            return;
        };
        self.counters.interrupts += self
            .interrupts
            .fire(&self.registers, attachment.as_mut(), now);
        attachment.send_interrupts();
    }

    /// Joins the guest to the NHI by something else, and nothing more.
    #[cfg(test)]
    pub(crate) fn replace_attachment(&mut self, attachment: Box<dyn Attachment>) {
        self.attachment = Some(attachment);
    }

    /// Raises vectors, a bit each, past the rings.
    #[cfg(test)]
    pub(crate) fn raise_for_test(&mut self, vectors: u32) {
        let attachment = self.attachment.as_mut().unwrap();
        for vector in (0..VECTORS as u8).filter(|vector| vectors >> vector & 1 != 0) {
            attachment.raise(Vector(vector));
        }
    }

    /// Whether an interrupt waits for its moderation interval to pass.
    pub fn is_interrupt_waiting(&self) -> bool {
        self.interrupts.is_waiting(&self.registers)
    }

    fn break_down(&mut self, source: Source, error: DmaError) {
        self.count_bad_dma(source, error);
        match source {
            Source::Tx(ring) => self.tx[ring.index()].break_down(),
            Source::Rx(ring) => self.rx[ring.index()].break_down(),
        }
    }

    fn count_bad_dma(&mut self, source: Source, error: DmaError) {
        if self.counters.bad_dma == 0 {
            log::warn!(
                "{}-nhi{}: the guest's {source:?} ring is bad: {error}; further ones are counted only",
                self.name.host,
                self.name.nhi
            );
        }
        self.counters.bad_dma += 1;
    }
}

/// The ring whose options begin `offset` bytes behind those of the first one.
fn ring_of_options(offset: usize) -> Option<RingNumber> {
    (offset % register::OPTIONS_STRIDE == 0)
        .then(|| RingNumber::at(offset / register::OPTIONS_STRIDE))
        .flatten()
}

fn within_registers(offset: u64) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    (offset < register::REGISTER_FILE_SIZE).then_some(offset)
}
