// SPDX-License-Identifier: GPL-2.0

//! A guest for unit tests: does to an NHI what the driver does, by hand.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use vm_memory::MmapRegion;

use crate::attachment::Attachment;
use crate::attachment::Doorbells;
use crate::cable::NhiIndex;
use crate::control_packet::error_body;
use crate::control_packet::ConfigAddress;
use crate::control_packet::ControlPacket;
use crate::control_packet::ErrorCode;
use crate::control_packet::PacketKind;
use crate::control_packet::Route;
use crate::fabric::Fabric;
use crate::frame::PdfField;
use crate::guest_memory::Access;
use crate::guest_memory::GuestAddress;
use crate::ids::AdapterNumber;
use crate::ids::PortNumber;
use crate::ids::NHI_ADAPTER;
use crate::nhi::register;
use crate::nhi::InterruptSink;
use crate::nhi::Nhi;
use crate::nhi::Raised;
use crate::nhi::Vector;
use crate::vhost::fake_driver::FakeDriver;
use crate::vhost::fake_driver::MMIO_READ;
use crate::vhost::fake_driver::MMIO_WRITE;
use crate::vhost::fake_driver::REGISTERS;

pub(crate) const ENABLE: u32 = 1 << 31;
pub(crate) const RAW: u32 = 1 << 30;
pub(crate) const E2E: u32 = 1 << 28;

pub(crate) const COMPLETED: u32 = 0x2 << 20;
pub(crate) const CRC_ERROR: u32 = 0x1 << 20;
pub(crate) const OVERRUN: u32 = 0x4 << 20;
pub(crate) const FLAGS: u32 = 0xfff << 20;
const POSTED: u32 = 0x4 << 20;
const INTERRUPT: u32 = 0x8 << 20;

/// Descriptors of every ring.
pub(crate) const RING_SIZE: u16 = 16;

const MEMORY: u64 = 0x10_0000;
const MEMORY_SIZE: usize = 0x80_0000;
const BUFFERS: u64 = 0x20_0000;
const PAGE: u64 = 0x1000;

/// A ring of the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Tx,
    Rx,
}

/// Vectors raised, in order.
#[derive(Clone, Default)]
pub(crate) struct Interrupts(pub(crate) Arc<Mutex<Vec<Vector>>>);

impl InterruptSink for Interrupts {
    fn raise(&mut self, vector: Vector) -> Raised {
        self.0.lock().push(vector);
        Raised::Sent
    }
}

impl Attachment for Interrupts {
    fn doorbells(&self) -> Doorbells {
        Doorbells::Memory
    }
}

impl Interrupts {
    /// The vectors raised since the last call.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().drain(..).map(|vector| vector.0).collect()
    }
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) payload: Vec<u8>,
    pub(crate) eof: u8,
    pub(crate) sof: u8,
    pub(crate) flags: u32,
}

/// The driver's view of one NHI.
pub(crate) struct FakeGuest {
    nhi: NhiIndex,
    /// The way to the registers, if the guest queues its accesses.
    pub(crate) driver: Option<FakeDriver>,
    pub(crate) interrupts: Interrupts,
    /// Next descriptor to post, and to look at, of transmit and receive rings.
    posted: [[u16; 32]; 2],
    seen: [[u16; 32]; 2],
}

impl FakeGuest {
    /// Attaches to an NHI with some memory and starts the control channel.
    pub(crate) fn attach(fabric: &mut Fabric, nhi: NhiIndex) -> Self {
        let mut guest = Self::new(nhi, None);
        let memory = MmapRegion::new(MEMORY_SIZE).unwrap();
        let attachment = Box::new(guest.interrupts.clone());
        fabric.with_nhi(nhi, |nhi| {
            nhi.attach(attachment);
            nhi.memory_mut()
                .map(GuestAddress(MEMORY), memory, Access::ReadWrite)
                .unwrap();
        });
        guest.start_control(fabric);
        guest
    }

    /// The guest of an NHI to which `driver` is connected.
    pub(crate) fn queueing(fabric: &mut Fabric, nhi: NhiIndex, mut driver: FakeDriver) -> Self {
        driver.enable_msix();
        let mut guest = Self::new(nhi, Some(driver));
        guest.start_control(fabric);
        guest
    }

    fn new(nhi: NhiIndex, driver: Option<FakeDriver>) -> Self {
        Self {
            nhi,
            driver,
            interrupts: Interrupts::default(),
            posted: [[0; 32]; 2],
            seen: [[0; 32]; 2],
        }
    }

    /// Starts the control channel.
    pub(crate) fn start_control(&mut self, fabric: &mut Fabric) {
        self.start(fabric, Side::Tx, 0, RAW);
        self.start(fabric, Side::Rx, 0, RAW);
        self.post_rx(fabric, 0, RING_SIZE - 1);
    }

    pub(crate) fn with<R>(&self, fabric: &mut Fabric, work: impl FnOnce(&mut Nhi) -> R) -> R {
        fabric.with_nhi(self.nhi, work)
    }

    fn write(&mut self, fabric: &mut Fabric, offset: usize, value: u32) {
        let (offset, value) = (offset as u64, value.to_le_bytes());
        match &mut self.driver {
            Some(driver) => driver.post_write(MMIO_WRITE, REGISTERS, offset, &value),
            None => self.with(fabric, |nhi| nhi.write_register(offset, &value)),
        }
    }

    /// Writes a register of a page that guests map who can: the NHI is not told.
    fn store(&mut self, fabric: &mut Fabric, offset: usize, value: u32) {
        match self.driver {
            Some(_) => self.write(fabric, offset, value),
            None => self.with(fabric, |nhi| nhi.registers().store(offset, value)),
        }
    }

    fn load(&mut self, fabric: &mut Fabric, offset: usize) -> u32 {
        let Some(driver) = &mut self.driver else {
            return self.with(fabric, |nhi| nhi.registers().load(offset));
        };
        let slot = driver.post_read(MMIO_READ, REGISTERS, offset as u64, 4);
        fabric.with_nhi(self.nhi, Nhi::take_accesses);
        u32::from_le_bytes(driver.answer(slot).unwrap().try_into().unwrap())
    }

    /// As the driver's `tb_ring_start()`: interrupt on, all marks accepted.
    pub(crate) fn start(&mut self, fabric: &mut Fabric, side: Side, ring: u8, flags: u32) {
        self.start_at(fabric, side, ring, flags, descriptors(side, ring));
    }

    pub(crate) fn start_at(
        &mut self,
        fabric: &mut Fabric,
        side: Side,
        ring: u8,
        flags: u32,
        address: u64,
    ) {
        let index = usize::from(ring);
        let (base, options) = registers(side, index);
        self.posted[side as usize][index] = 0;
        self.seen[side as usize][index] = 0;
        self.write(fabric, base + register::RING_ADDRESS, address as u32);
        self.write(
            fabric,
            base + register::RING_ADDRESS + 4,
            (address >> 32) as u32,
        );
        self.write(fabric, base + register::RING_SIZE, RING_SIZE.into());
        if side == Side::Rx {
            self.write(fabric, options + register::RX_OPTIONS_MASKS, u32::MAX);
        }
        self.write(fabric, options, flags | ENABLE);
        let mask = register::INTERRUPT_MASK + 4 * side as usize;
        let others = self.load(fabric, mask);
        self.store(fabric, mask, others | 1 << ring);
    }

    /// As `tb_ring_stop()`.
    pub(crate) fn stop(&mut self, fabric: &mut Fabric, side: Side, ring: u8) {
        let (base, options) = registers(side, ring.into());
        self.write(fabric, options, 0);
        self.write(fabric, base + register::RING_INDEX, 0);
    }

    /// Posts a frame.
    pub(crate) fn post_tx(&mut self, fabric: &mut Fabric, ring: u8, payload: &[u8], pdf: u8) {
        let index = self.posted[0][usize::from(ring)];
        let address = buffer(Side::Tx, ring, index);
        self.with(fabric, |nhi| {
            let memory = nhi.memory_mut();
            let buffer = memory.slice(GuestAddress(address), payload.len()).unwrap();
            buffer.write(payload).unwrap();
        });
        let len = payload.len() as u32 & 0xfff;
        let pdf = u32::from(pdf);
        self.post(fabric, Side::Tx, ring, address, len | pdf << 12 | pdf << 16);
    }

    /// Posts receive buffers.
    pub(crate) fn post_rx(&mut self, fabric: &mut Fabric, ring: u8, count: u16) {
        for _ in 0..count {
            let index = self.posted[1][usize::from(ring)];
            self.post(fabric, Side::Rx, ring, buffer(Side::Rx, ring, index), 0);
        }
    }

    /// Posts a descriptor for the buffer at `address`.
    pub(crate) fn post(
        &mut self,
        fabric: &mut Fabric,
        side: Side,
        ring: u8,
        address: u64,
        status: u32,
    ) {
        let posted = &mut self.posted[side as usize][usize::from(ring)];
        let descriptor = descriptors(side, ring) + 16 * u64::from(*posted);
        *posted = (*posted + 1) % RING_SIZE;
        let index = match side {
            Side::Tx => u32::from(*posted) << 16,
            Side::Rx => u32::from(*posted),
        };
        self.with(fabric, |nhi| {
            let slice = nhi
                .memory_mut()
                .slice(GuestAddress(descriptor), 16)
                .unwrap();
            slice.write(&address.to_le_bytes()).unwrap();
            slice.store_u32(8, status | POSTED | INTERRUPT).unwrap();
        });
        self.set_index(fabric, side, ring, index);
    }

    /// Writes the index register of a ring.
    pub(crate) fn set_index(&mut self, fabric: &mut Fabric, side: Side, ring: u8, index: u32) {
        let (base, _) = registers(side, ring.into());
        self.store(fabric, base + register::RING_INDEX, index);
    }

    /// The frames completed since the last call.
    pub(crate) fn received(&mut self, fabric: &mut Fabric, ring: u8) -> Vec<Received> {
        let mut frames = Vec::new();
        while let Some(status) = self.completed(fabric, Side::Rx, ring) {
            let index = self.seen[1][usize::from(ring)];
            let len = match status as usize & 0xfff {
                0 => 4096,
                some => some,
            };
            let address = GuestAddress(buffer(Side::Rx, ring, index));
            frames.push(Received {
                payload: self.with(fabric, |nhi| {
                    nhi.memory_mut().slice(address, len).unwrap().to_vec()
                }),
                eof: (status >> 12 & 0xf) as u8,
                sof: (status >> 16 & 0xf) as u8,
                flags: status & FLAGS,
            });
            self.see(fabric, Side::Rx, ring);
        }
        frames
    }

    /// Number of transmit descriptors completed since the last call.
    pub(crate) fn sent(&mut self, fabric: &mut Fabric, ring: u8) -> usize {
        let mut count = 0;
        while let Some(status) = self.completed(fabric, Side::Tx, ring) {
            // The flag for "posted" means "overrun" once the descriptor is complete.
            assert_eq!(status & FLAGS, COMPLETED);
            self.see(fabric, Side::Tx, ring);
            count += 1;
        }
        count
    }

    fn completed(&self, fabric: &mut Fabric, side: Side, ring: u8) -> Option<u32> {
        let index = self.seen[side as usize][usize::from(ring)];
        let address = GuestAddress(descriptors(side, ring) + 16 * u64::from(index));
        let status = self.with(fabric, |nhi| {
            nhi.memory_mut()
                .slice(address, 16)
                .unwrap()
                .load_u32(8)
                .unwrap()
        });
        (status & COMPLETED != 0).then_some(status)
    }

    fn see(&mut self, fabric: &mut Fabric, side: Side, ring: u8) {
        let seen = &mut self.seen[side as usize][usize::from(ring)];
        let address = GuestAddress(descriptors(side, ring) + 16 * u64::from(*seen));
        *seen = (*seen + 1) % RING_SIZE;
        self.with(fabric, |nhi| {
            let slice = nhi.memory_mut().slice(address, 16).unwrap();
            slice.store_u32(8, 0).unwrap();
        });
    }

    /// Sends a control packet and returns what has come back by then.
    pub(crate) fn control(
        &mut self,
        fabric: &mut Fabric,
        packet: &ControlPacket,
    ) -> Vec<ControlPacket> {
        let pdf = PdfField::from(packet.kind).0;
        self.post_tx(fabric, 0, &packet.encode(), pdf);
        fabric.step(Instant::now());
        self.control_received(fabric)
    }

    /// Answers hotplug events as the driver does.
    pub(crate) fn acknowledge(&mut self, fabric: &mut Fabric, events: &[ControlPacket]) {
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event.kind, PacketKind::Hotplug);
            let adapter = AdapterNumber(event.body[0] as u8);
            let answer = ControlPacket {
                kind: PacketKind::Error,
                route: Route::HOST,
                body: vec![error_body(ErrorCode::AckPlugEvent, adapter)],
            };
            self.control(fabric, &answer);
        }
    }

    /// The control packets received since the last call; their buffers are posted again.
    pub(crate) fn control_received(&mut self, fabric: &mut Fabric) -> Vec<ControlPacket> {
        let frames = self.received(fabric, 0);
        self.post_rx(fabric, 0, frames.len() as u16);
        frames
            .iter()
            .map(|frame| {
                assert_eq!(frame.sof, 0, "the driver insists");
                assert_eq!(frame.payload[0] & 0x80, 0x80, "from a router");
                ControlPacket::decode(PdfField(frame.eof), &frame.payload).unwrap()
            })
            .collect()
    }

    /// Writes dwords of a config space of the host router.
    pub(crate) fn config_write(
        &mut self,
        fabric: &mut Fabric,
        space: u32,
        adapter: AdapterNumber,
        offset: u32,
        values: &[u32],
    ) -> Vec<ControlPacket> {
        let mut body = vec![address(space, adapter, offset, values.len() as u32).0];
        body.extend(values);
        let packet = ControlPacket {
            kind: PacketKind::Write,
            route: Route::HOST,
            body,
        };
        self.control(fabric, &packet)
    }

    /// As the connection manager: enumerates the router and enables hotplug events. Returns the
    /// events.
    pub(crate) fn enumerate(&mut self, fabric: &mut Fabric) -> Vec<ControlPacket> {
        let mut packets = self.config_write(fabric, ROUTER_SPACE, AdapterNumber(0), 3, &[ENABLE]);
        for port in PortNumber::all() {
            packets.extend(self.config_write(fabric, ADAPTER_SPACE, port.lane_0(), 5, &[0]));
        }
        packets.retain(|packet| packet.kind != PacketKind::Write);
        packets
    }

    /// Sets up a path from transmit ring `ring` onto the link of `port` as `hop`.
    pub(crate) fn path_out(&mut self, fabric: &mut Fabric, ring: u8, port: PortNumber, hop: u32) {
        let entry = ENABLE | u32::from(port.lane_0().0) << 11 | hop;
        let offset = 2 * u32::from(ring);
        self.config_write(fabric, PATH_SPACE, NHI_ADAPTER, offset, &[entry, 0]);
    }

    /// Sets up a path from the link of `port`, arriving as `hop`, to receive ring `ring`.
    pub(crate) fn path_in(&mut self, fabric: &mut Fabric, port: PortNumber, hop: u32, ring: u8) {
        let entry = ENABLE | u32::from(NHI_ADAPTER.0) << 11 | u32::from(ring);
        self.config_write(fabric, PATH_SPACE, port.lane_0(), 2 * hop, &[entry, 0]);
    }
}

pub(crate) const PATH_SPACE: u32 = 0;
pub(crate) const ADAPTER_SPACE: u32 = 1;
pub(crate) const ROUTER_SPACE: u32 = 2;

/// Address dword of a config access.
pub(crate) fn address(space: u32, adapter: AdapterNumber, offset: u32, len: u32) -> ConfigAddress {
    ConfigAddress(offset | len << 13 | u32::from(adapter.0) << 19 | space << 25)
}

fn registers(side: Side, ring: usize) -> (usize, usize) {
    let (base, options) = match side {
        Side::Tx => (register::TX_RING_BASE, register::TX_OPTIONS_BASE),
        Side::Rx => (register::RX_RING_BASE, register::RX_OPTIONS_BASE),
    };
    (
        base + ring * register::RING_STRIDE,
        options + ring * register::OPTIONS_STRIDE,
    )
}

fn descriptors(side: Side, ring: u8) -> u64 {
    MEMORY + (side as u64 * 32 + u64::from(ring)) * PAGE
}

fn buffer(side: Side, ring: u8, index: u16) -> u64 {
    let ring = side as u64 * 32 + u64::from(ring);
    BUFFERS + (ring * u64::from(RING_SIZE) + u64::from(index)) * PAGE
}
