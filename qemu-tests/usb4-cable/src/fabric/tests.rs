// SPDX-License-Identifier: GPL-2.0

//! Whole fabrics, driven by hand.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::control_packet::error_body;
use crate::control_packet::AdapterNumber;
use crate::control_packet::ErrorCode;
use crate::counters::DirectionCounters;
use crate::fake_guest::address;
use crate::fake_guest::FakeGuest;
use crate::fake_guest::Received;
use crate::fake_guest::Side;
use crate::fake_guest::ADAPTER_SPACE;
use crate::fake_guest::COMPLETED;
use crate::fake_guest::CRC_ERROR;
use crate::fake_guest::E2E;
use crate::fake_guest::ROUTER_SPACE;
use crate::fault::Flow;
use crate::nhi::PdfField;
use crate::topology::LinkSpeed;

const PORT_0: PortNumber = PortNumber(0);
const PORT_1: PortNumber = PortNumber(1);
const HOP: u32 = 8;
/// The rings used; different at both ends so that a mix-up shows.
const TX: u8 = 1;
const RX: u8 = 2;
const PDF: u8 = 3;

/// Two hosts with a cable from port 0 of `a` to port 1 of `b`.
struct Pair {
    fabric: Fabric,
    a: FakeGuest,
    b: FakeGuest,
}

impl Pair {
    fn powered() -> Self {
        let topology = Topology::from_json(
            r#"{"hosts": [{"name": "a"}, {"name": "b"}], "cables": [{"name": "c",
                "a": {"host": "a", "port": 0}, "b": {"host": "b", "port": 1}}]}"#,
        )
        .unwrap();
        let mut fabric = Fabric::new(&topology, Instant::now()).unwrap();
        let a = FakeGuest::attach(&mut fabric, NhiIndex(0));
        let b = FakeGuest::attach(&mut fabric, NhiIndex(1));
        Self { fabric, a, b }
    }

    /// Link up, events acknowledged.
    fn linked() -> Self {
        let mut pair = Self::powered();
        assert_eq!(pair.a.enumerate(&mut pair.fabric), []);
        let events = pair.b.enumerate(&mut pair.fabric);
        pair.fabric.step(Instant::now());
        acknowledge(&mut pair.b, &mut pair.fabric, &events);
        let events = pair.a.control_received(&mut pair.fabric);
        acknowledge(&mut pair.a, &mut pair.fabric, &events);
        pair
    }

    /// With a path from `a` to `b` and rings with `flags`.
    fn connected(flags: u32) -> Self {
        let mut pair = Self::linked();
        pair.a.start(&mut pair.fabric, Side::Tx, TX, flags);
        pair.b.start(&mut pair.fabric, Side::Rx, RX, flags);
        pair.a.path_out(&mut pair.fabric, TX, PORT_0, HOP);
        pair.b.path_in(&mut pair.fabric, PORT_1, HOP, RX);
        pair
    }

    fn step(&mut self) -> Progress {
        self.fabric.step(Instant::now())
    }

    fn send(&mut self, payload: &[u8]) {
        self.a.post_tx(&mut self.fabric, TX, payload, PDF);
        self.step();
    }

    fn received(&mut self) -> Vec<Received> {
        self.b.received(&mut self.fabric, RX)
    }

    fn post_rx(&mut self, count: u16) {
        self.b.post_rx(&mut self.fabric, RX, count);
    }

    fn set_faults(&mut self, faults: Faults) {
        let answer = self.fabric.execute(
            Request::SetFaults {
                cable: "c".into(),
                direction: Some(Direction::AToB),
                faults,
            },
            Instant::now(),
        );
        assert_eq!(answer, Answer::Done);
    }

    fn plug(&mut self, plug: Plug) {
        let cable = "c".into();
        let request = match plug {
            Plug::Plugged => Request::Plug { cable },
            Plug::Unplugged => Request::Unplug { cable },
        };
        assert_eq!(self.fabric.execute(request, Instant::now()), Answer::Done);
    }

    fn link(&self) -> LinkState {
        self.fabric.status().cables[0].link
    }

    fn counters(&self) -> DirectionCounters {
        self.fabric.status().cables[0].a_to_b.clone()
    }

    fn bad_dma(&self, nhi: usize) -> u64 {
        self.fabric.status().nhis[nhi].counters.bad_dma
    }
}

/// Answers hotplug events as the driver does.
fn acknowledge(guest: &mut FakeGuest, fabric: &mut Fabric, events: &[ControlPacket]) {
    assert!(!events.is_empty());
    for event in events {
        assert_eq!(event.kind, PacketKind::Hotplug);
        let adapter = AdapterNumber(event.body[0] as u8);
        let answer = ControlPacket {
            kind: PacketKind::Error,
            route: Route::HOST,
            body: vec![error_body(ErrorCode::AckPlugEvent, adapter)],
        };
        guest.control(fabric, &answer);
    }
}

fn bodies(packets: &[ControlPacket]) -> Vec<(PacketKind, u32)> {
    packets
        .iter()
        .map(|packet| (packet.kind, packet.body[0]))
        .collect()
}

#[test]
fn the_link_comes_up_when_both_hosts_are_ready() {
    let mut pair = Pair::powered();
    pair.a.enumerate(&mut pair.fabric);
    pair.step();
    assert_eq!(pair.link(), LinkState::Down);
    assert_eq!(pair.a.control_received(&mut pair.fabric), []);
    let events = pair.b.enumerate(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Up);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 3)]);
    pair.step();
    let events = pair.a.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 1)]);
}

#[test]
fn unplug_and_plug_are_told_to_both() {
    let mut pair = Pair::linked();
    pair.plug(Plug::Unplugged);
    pair.step();
    assert_eq!(pair.link(), LinkState::Down);
    let events = pair.a.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 1 | 1 << 31)]);
    pair.b.control_received(&mut pair.fabric);
    pair.plug(Plug::Plugged);
    assert_eq!(pair.link(), LinkState::Up);
}

#[test]
fn a_host_that_reboots_is_unplugged_and_plugged() {
    let mut pair = Pair::linked();
    pair.a.with(&mut pair.fabric, Nhi::detach);
    pair.step();
    assert_eq!(pair.link(), LinkState::Down);
    let events = pair.b.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 3 | 1 << 31)]);
    acknowledge(&mut pair.b, &mut pair.fabric, &events);
    pair.a = FakeGuest::attach(&mut pair.fabric, NhiIndex(0));
    pair.a.enumerate(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Up);
    pair.step();
    let events = pair.b.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 3)]);
}

#[test]
fn frames_arrive_whole_and_in_order() {
    for flags in [0, E2E] {
        let mut pair = Pair::connected(flags);
        pair.post_rx(5);
        for number in 0..5u8 {
            pair.send(&vec![number + 1; 4096 - usize::from(number)]);
        }
        assert_eq!(pair.a.sent(&mut pair.fabric, TX), 5);
        for (number, frame) in pair.received().iter().enumerate() {
            assert_eq!(frame.payload, vec![number as u8 + 1; 4096 - number]);
            assert_eq!((frame.sof, frame.eof, frame.flags), (PDF, PDF, COMPLETED));
        }
        let counters = pair.counters();
        assert_eq!((counters.frames, counters.bytes), (5, 5 * 4096 - 10));
        assert_eq!((counters.dropped, counters.e2e_holds), (0, 0));
    }
}

#[test]
fn rings_wrap_around() {
    let mut pair = Pair::connected(E2E);
    for number in 0..100u8 {
        pair.post_rx(1);
        pair.send(&[number; 64]);
        assert_eq!(pair.a.sent(&mut pair.fabric, TX), 1);
        assert_eq!(pair.received()[0].payload, [number; 64]);
    }
}

#[test]
fn end_to_end_flow_control_holds_frames() {
    let mut pair = Pair::connected(E2E);
    pair.send(b"first");
    pair.send(b"second");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
    pair.post_rx(1);
    pair.step();
    assert_eq!(pair.received()[0].payload, b"first");
    pair.post_rx(1);
    pair.step();
    assert_eq!(pair.received()[0].payload, b"second");
    assert_eq!(pair.counters().e2e_holds, 2);
}

#[test]
fn end_to_end_flow_control_waits_for_a_path() {
    let mut pair = Pair::linked();
    pair.a.start(&mut pair.fabric, Side::Tx, TX, E2E);
    pair.a.path_out(&mut pair.fabric, TX, PORT_0, HOP);
    pair.send(b"early");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
    pair.b.start(&mut pair.fabric, Side::Rx, RX, E2E);
    pair.post_rx(1);
    pair.b.path_in(&mut pair.fabric, PORT_1, HOP, RX);
    pair.step();
    assert_eq!(pair.received()[0].payload, b"early");
}

#[test]
fn without_flow_control_frames_are_dropped() {
    let mut pair = Pair::connected(0);
    pair.send(b"nobody listens");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 1);
    pair.post_rx(1);
    pair.step();
    assert_eq!(pair.received(), []);
    assert_eq!(pair.counters().dropped, 1);
}

#[test]
fn masks_are_enforced() {
    let mut pair = Pair::connected(0);
    pair.b.stop(&mut pair.fabric, Side::Rx, RX);
    pair.b.start(&mut pair.fabric, Side::Rx, RX, 0);
    pair.b.with(&mut pair.fabric, |nhi| {
        // Ends with 3 only; written before the ring is enabled again.
        nhi.write_register(0x2_9800 + 0x40, &0u32.to_le_bytes());
        nhi.write_register(0x2_9804 + 0x40, &(0xffff_0000u32 | 1 << 3).to_le_bytes());
        nhi.write_register(0x2_9800 + 0x40, &(1u32 << 31).to_le_bytes());
    });
    pair.post_rx(2);
    pair.a.post_tx(&mut pair.fabric, TX, b"four", 4);
    pair.a.post_tx(&mut pair.fabric, TX, b"three", 3);
    pair.step();
    assert_eq!(pair.received()[0].payload, b"three");
    assert_eq!(pair.counters().masked, 1);
}

#[test]
fn nothing_moves_after_a_ring_is_stopped() {
    let mut pair = Pair::connected(E2E);
    pair.b.stop(&mut pair.fabric, Side::Rx, RX);
    pair.send(b"late");
    assert_eq!(pair.received(), []);
    let mut pair = Pair::connected(E2E);
    pair.post_rx(1);
    pair.a.post_tx(&mut pair.fabric, TX, b"late", PDF);
    pair.a.stop(&mut pair.fabric, Side::Tx, TX);
    pair.step();
    assert_eq!(pair.received(), []);
}

#[test]
fn a_reset_stops_everything() {
    let mut pair = Pair::connected(E2E);
    pair.post_rx(1);
    pair.a.post_tx(&mut pair.fabric, TX, b"late", PDF);
    let reset = |nhi: &mut Nhi| nhi.write_register(0x3_9898, &1u32.to_le_bytes());
    pair.b.with(&mut pair.fabric, reset);
    pair.step();
    assert_eq!(pair.received(), []);
    assert_eq!(pair.link(), LinkState::Down);
    let mut done = [0xff; 4];
    pair.b.with(&mut pair.fabric, |nhi| {
        nhi.read_register(0x3_9898, &mut done)
    });
    assert_eq!(done, [0; 4], "the driver waits for this");
}

#[test]
fn no_frame_passes_without_a_link() {
    let mut pair = Pair::connected(0);
    pair.post_rx(1);
    pair.plug(Plug::Unplugged);
    pair.send(b"into the air");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
}

#[test]
fn interrupts_of_both_ends() {
    let mut pair = Pair::connected(E2E);
    pair.a.interrupts.take();
    pair.b.interrupts.take();
    // Vectors 5 and 6: transmit ring 1 is bits 7:4 of the first, receive ring 2 bits 11:8 of the
    // fifth register.
    pair.a.with(&mut pair.fabric, |nhi| {
        nhi.registers().store(0x3_8c40, 5 << 4)
    });
    pair.b.with(&mut pair.fabric, |nhi| {
        nhi.registers().store(0x3_8c50, 6 << 8)
    });
    pair.post_rx(1);
    pair.send(b"ring");
    assert_eq!(pair.a.interrupts.take(), [5]);
    assert_eq!(pair.b.interrupts.take(), [6]);
    pair.step();
    assert!(pair.b.interrupts.take().is_empty(), "once");
}

#[test]
fn a_masked_interrupt_is_raised_when_unmasked() {
    let mut pair = Pair::connected(E2E);
    let mask = |pair: &mut Pair, bits| {
        pair.b.with(&mut pair.fabric, |nhi| {
            nhi.registers().store(0x3_8204, bits)
        });
    };
    pair.b.interrupts.take();
    mask(&mut pair, 0);
    pair.post_rx(1);
    pair.send(b"ring");
    assert!(pair.b.interrupts.take().is_empty());
    mask(&mut pair, 1 << RX);
    pair.step();
    assert_eq!(pair.b.interrupts.take(), [0]);
}

#[test]
fn interrupts_are_moderated() {
    let mut pair = Pair::connected(E2E);
    pair.b.with(&mut pair.fabric, |nhi| {
        nhi.registers().store(0x3_8c50, 6 << 8);
        nhi.registers().store(0x3_8c18, 0xffff);
    });
    pair.post_rx(2);
    pair.b.interrupts.take();
    let now = Instant::now();
    pair.a.post_tx(&mut pair.fabric, TX, b"1", PDF);
    pair.fabric.step(now);
    pair.a.post_tx(&mut pair.fabric, TX, b"2", PDF);
    assert_eq!(pair.fabric.step(now), Progress::Moved);
    assert_eq!(pair.b.interrupts.take(), [6], "one for two frames");
    assert_eq!(pair.fabric.step(now), Progress::Waiting);
    pair.fabric.step(now + Duration::from_millis(17));
    assert_eq!(pair.b.interrupts.take(), [6]);
}

#[test]
fn malformed_control_packets_are_counted() {
    let mut pair = Pair::powered();
    for len in [1, 2, 3, 4, 7, 8, 11, 255, 4096] {
        pair.a.post_tx(&mut pair.fabric, 0, &vec![0xa5; len], 1);
        pair.step();
    }
    let counters = &pair.fabric.status().nhis[0].counters;
    assert_eq!(counters.bad_control_packets, 9);
    assert_eq!(pair.a.sent(&mut pair.fabric, 0), 9);
    assert_eq!(pair.a.control_received(&mut pair.fabric), []);
}

#[test]
fn config_accesses_that_make_no_sense_are_refused() {
    let mut pair = Pair::powered();
    let mut refused = |kind, body: Vec<u32>| {
        let packet = ControlPacket {
            kind,
            route: Route::HOST,
            body,
        };
        let answers = pair.a.control(&mut pair.fabric, &packet);
        assert_eq!(answers.len(), 1);
        answers[0].kind == PacketKind::Error
    };
    let router = AdapterNumber(0);
    let read = |space, adapter, offset, len| vec![address(space, adapter, offset, len).0];
    assert!(!refused(PacketKind::Read, read(ROUTER_SPACE, router, 0, 5)));
    assert!(refused(PacketKind::Read, vec![]));
    assert!(refused(PacketKind::Write, vec![]));
    assert!(refused(
        PacketKind::Read,
        read(ROUTER_SPACE, router, 0x1fff, 1)
    ));
    assert!(refused(PacketKind::Read, read(ROUTER_SPACE, router, 0, 63)));
    for space in 0..4 {
        let nobody = AdapterNumber(0x3f);
        if space != ROUTER_SPACE {
            assert!(refused(PacketKind::Read, read(space, nobody, 0, 1)));
        }
        assert!(
            refused(PacketKind::Write, read(space, nobody, 0, 1)),
            "no data"
        );
    }
    let mut beyond = read(ROUTER_SPACE, router, 0x1fff, 1);
    beyond.push(7);
    assert!(refused(PacketKind::Write, beyond));
}

#[test]
fn any_control_packet_is_survived() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut pair = Pair::linked();
    for _ in 0..20_000 {
        let packet = ControlPacket {
            kind: PdfField(random.u8(0..16)).into(),
            route: Route(if random.bool() {
                random.u64(0..8)
            } else {
                random.u64(..)
            }),
            body: (0..random.usize(0..61)).map(|_| random.u32(..)).collect(),
        };
        pair.a.control(&mut pair.fabric, &packet);
        pair.b.control_received(&mut pair.fabric);
    }
}

#[test]
fn hostile_buffers_are_counted_and_skipped() {
    let mut pair = Pair::connected(E2E);
    pair.post_rx(1);
    for address in [0, 0xffff_ffff_ffff_f000, 0x8f_ffff] {
        pair.a.post(&mut pair.fabric, Side::Tx, TX, address, 64);
    }
    pair.send(b"good");
    assert_eq!(pair.bad_dma(0), 3);
    assert_eq!(pair.received()[0].payload, b"good");
    // A receiver's bad buffer costs a frame, nothing else.
    pair.b.post(&mut pair.fabric, Side::Rx, RX, 0xdead_0000, 0);
    pair.send(b"gone");
    assert_eq!(pair.bad_dma(1), 1);
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 5);
}

#[test]
fn hostile_rings_are_taken_out_of_service() {
    for address in [0, u64::MAX & !0xf, u64::MAX, 0x10_0004] {
        let mut pair = Pair::connected(E2E);
        pair.a.start_at(&mut pair.fabric, Side::Tx, 5, 0, address);
        pair.a.path_out(&mut pair.fabric, 5, PORT_0, HOP);
        pair.post_rx(1);
        pair.a.set_index(&mut pair.fabric, Side::Tx, 5, 1 << 16);
        for _ in 0..10 {
            pair.step();
        }
        assert_eq!(pair.bad_dma(0), 1, "{address:#x}: counted once");
        pair.send(b"others go on");
        assert_eq!(pair.received()[0].payload, b"others go on");
    }
}

#[test]
fn hostile_indices_are_noticed() {
    let mut pair = Pair::connected(E2E);
    pair.a
        .set_index(&mut pair.fabric, Side::Tx, TX, 0xffff_0000);
    pair.step();
    pair.step();
    assert_eq!(pair.bad_dma(0), 1);
    let mut pair = Pair::connected(E2E);
    pair.b.set_index(&mut pair.fabric, Side::Rx, RX, 0xffff);
    pair.send(b"x");
    assert_eq!(pair.bad_dma(1), 1);
}

#[test]
fn any_register_access_is_survived() {
    let mut random = fastrand::Rng::with_seed(8);
    let mut pair = Pair::connected(E2E);
    for _ in 0..20_000 {
        let offset = if random.bool() {
            random.u64(0..0x4_0010)
        } else {
            // The options registers, which do most.
            0x1_9800 + random.u64(0..0x300) + u64::from(random.bool()) * 0x1_0000
        };
        let mut data = vec![0; random.usize(0..16)];
        random.fill(&mut data);
        let write = random.bool();
        pair.a.with(&mut pair.fabric, |nhi| {
            if write {
                nhi.write_register(offset, &data);
            } else {
                nhi.read_register(offset, &mut data);
            }
        });
        pair.step();
    }
    pair.a.with(&mut pair.fabric, |nhi| {
        nhi.write_register(u64::MAX, &[0; 4]);
        nhi.read_register(u64::MAX, &mut [0; 4]);
    });
}

#[test]
fn xdomain_packets_reach_the_peer() {
    let mut pair = Pair::linked();
    let request = |route, kind| ControlPacket {
        kind,
        route: Route(route),
        body: vec![1, 2, 3],
    };
    let sent = pair
        .a
        .control(&mut pair.fabric, &request(1, PacketKind::XdomainRequest));
    assert_eq!(sent, []);
    let received = pair.b.control_received(&mut pair.fabric);
    assert_eq!(received, [request(3, PacketKind::XdomainRequest)]);
    pair.b
        .control(&mut pair.fabric, &request(3, PacketKind::XdomainResponse));
    let received = pair.a.control_received(&mut pair.fabric);
    assert_eq!(received, [request(1, PacketKind::XdomainResponse)]);
    assert_eq!(pair.counters().xdomain_packets, 1);
    // Nobody there: silence.
    for route in [0, 2, 3, 5, 77] {
        let answer = pair.a.control(
            &mut pair.fabric,
            &request(route, PacketKind::XdomainRequest),
        );
        assert_eq!(answer, [], "route {route}");
    }
}

#[test]
fn log_outs_are_refused_once_the_host_knows() {
    let mut pair = Pair::linked();
    let log_out = ControlPacket {
        kind: PacketKind::XdomainResponse,
        route: Route(1),
        body: vec![1, 2, 3],
    };
    pair.plug(Plug::Unplugged);
    pair.step();
    let events = pair.a.control_received(&mut pair.fabric);
    assert_eq!(pair.a.control(&mut pair.fabric, &log_out), []);
    acknowledge(&mut pair.a, &mut pair.fabric, &events);
    let answer = pair.a.control(&mut pair.fabric, &log_out);
    let refused = error_body(ErrorCode::NotConnected, AdapterNumber(1));
    assert_eq!(bodies(&answer), [(PacketKind::Error, refused)]);
}

#[test]
fn lanes_are_bonded_for_both() {
    let mut pair = Pair::powered();
    for (nhi, port) in [(0, PORT_0), (1, PORT_1)] {
        pair.fabric.stations[nhi]
            .nhi
            .router
            .set_speed(port, LinkSpeed::Gbps40);
    }
    pair.a.enumerate(&mut pair.fabric);
    pair.b.enumerate(&mut pair.fabric);
    pair.b.control_received(&mut pair.fabric);
    let width = |pair: &mut Pair| {
        let read = ControlPacket {
            kind: PacketKind::Read,
            route: Route::HOST,
            body: vec![address(ADAPTER_SPACE, PORT_1.lane_0(), 9, 1).0],
        };
        let answers = pair.b.control(&mut pair.fabric, &read);
        answers.last().unwrap().body[1] >> 20 & 0x3f
    };
    assert_eq!(width(&mut pair), 1);
    // Target width dual, bond.
    let bond = [0x8000 | 3 << 4];
    pair.a
        .config_write(&mut pair.fabric, ADAPTER_SPACE, PORT_0.lane_0(), 9, &bond);
    assert_eq!(width(&mut pair), 2);
    pair.a
        .config_write(&mut pair.fabric, ADAPTER_SPACE, PORT_0.lane_0(), 9, &[0]);
    assert_eq!(width(&mut pair), 1);
}

#[test]
fn beyond_the_link_is_another_domain() {
    let mut pair = Pair::linked();
    let read = ControlPacket {
        kind: PacketKind::Read,
        route: Route(1),
        body: vec![address(ROUTER_SPACE, AdapterNumber(0), 0, 5).0],
    };
    let answer = pair.a.control(&mut pair.fabric, &read);
    let refused = error_body(ErrorCode::InvalidSpace, AdapterNumber(1));
    assert_eq!(bodies(&answer), [(PacketKind::Error, refused)]);
    assert_eq!(answer[0].route, Route(1));
}

#[test]
fn lost_frames() {
    let mut pair = Pair::connected(E2E);
    pair.set_faults(Faults {
        lose_one_in: NonZeroU32::new(1),
        ..Faults::default()
    });
    pair.post_rx(1);
    pair.send(b"lost");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 1);
    assert_eq!(pair.received(), []);
    assert_eq!(pair.counters().lost, 1);
}

#[test]
fn corrupt_frames_are_marked_and_delivered() {
    let mut pair = Pair::connected(E2E);
    pair.set_faults(Faults {
        corrupt_one_in: NonZeroU32::new(1),
        ..Faults::default()
    });
    pair.post_rx(1);
    pair.send(&[0; 100]);
    let frame = &pair.received()[0];
    assert_eq!(frame.flags, COMPLETED | CRC_ERROR);
    assert_eq!(frame.payload.len(), 100);
    let flipped = frame.payload.iter().filter(|byte| **byte != 0).count();
    assert!((1..=4).contains(&flipped));
    assert_eq!(pair.counters().corrupted, 1);
}

#[test]
fn late_interrupts() {
    let mut pair = Pair::connected(E2E);
    pair.set_faults(Faults {
        late_interrupt_one_in: NonZeroU32::new(1),
        ..Faults::default()
    });
    pair.post_rx(2);
    pair.b.interrupts.take();
    pair.send(b"quiet");
    assert!(pair.b.interrupts.take().is_empty());
    assert_eq!(pair.received().len(), 1, "it is there though");
    pair.set_faults(Faults::default());
    pair.send(b"loud");
    assert_eq!(pair.b.interrupts.take(), [0]);
}

#[test]
fn latency() {
    let mut pair = Pair::connected(E2E);
    pair.set_faults(Faults {
        latency_us: 1000,
        ..Faults::default()
    });
    pair.post_rx(2);
    let now = Instant::now();
    for payload in [b"one".as_slice(), b"two", b"held"] {
        pair.a.post_tx(&mut pair.fabric, TX, payload, PDF);
    }
    pair.fabric.step(now);
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 2, "as many as have room");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.fabric.step(now), Progress::Waiting);
    pair.fabric.step(now + Duration::from_micros(1001));
    let payloads: Vec<_> = pair.received().into_iter().map(|f| f.payload).collect();
    assert_eq!(payloads, [b"one", b"two"]);
    // What is under way keeps its order when the latency goes.
    pair.post_rx(2);
    pair.fabric.step(now);
    pair.set_faults(Faults::default());
    pair.a.post_tx(&mut pair.fabric, TX, b"last", PDF);
    pair.fabric.step(now + Duration::from_micros(10));
    assert_eq!(pair.received(), []);
    pair.fabric.step(now + Duration::from_micros(1010));
    let payloads: Vec<_> = pair.received().into_iter().map(|f| f.payload).collect();
    assert_eq!(payloads, [b"held", b"last"]);
}

#[test]
fn frames_under_way_go_with_the_link() {
    let mut pair = Pair::connected(E2E);
    pair.set_faults(Faults {
        latency_us: 1000,
        ..Faults::default()
    });
    pair.post_rx(1);
    pair.send(b"under way");
    pair.plug(Plug::Unplugged);
    pair.plug(Plug::Plugged);
    pair.fabric.step(Instant::now() + Duration::from_secs(1));
    assert_eq!(pair.received(), []);
    assert_eq!(pair.counters().dropped, 1);
}

#[test]
fn a_stalled_cable() {
    let mut pair = Pair::connected(0);
    let stall = |flow| Faults {
        flow,
        ..Faults::default()
    };
    pair.set_faults(stall(Flow::Stalled));
    pair.post_rx(1);
    pair.send(b"patience");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.link(), LinkState::Up);
    pair.set_faults(stall(Flow::Moving));
    pair.step();
    assert_eq!(pair.received()[0].payload, b"patience");
}

#[test]
fn requests_for_no_cable() {
    let mut pair = Pair::linked();
    let request = Request::Unplug { cable: "d".into() };
    let answer = pair.fabric.execute(request, Instant::now());
    assert!(matches!(answer, Answer::Error { message } if message.contains("\"d\"")));
}
