// SPDX-License-Identifier: GPL-2.0

//! Data frames and their interrupts.

use std::time::Duration;

use super::*;
use crate::attachment::Attachment;
use crate::control::InterruptState;
use crate::control::RingKind;
use crate::fake_guest::COMPLETED;
use crate::fake_guest::E2E;
use crate::fake_guest::OVERRUN;
use crate::fake_guest::PATH_SPACE;
use crate::fake_guest::RING_SIZE;
use crate::nhi::register;
use crate::nhi::InterruptSink;
use crate::nhi::Raised;
use crate::nhi::Vector;

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
fn a_ring_says_what_it_waits_for() {
    let mut pair = Pair::connected(E2E);
    let ring = |pair: &Pair, nhi: usize, kind| {
        let rings = pair.fabric.status().nhis[nhi].rings.clone();
        let mut data = rings.into_iter().filter(|ring| ring.number != 0);
        let ring = data.next().expect("it is started");
        assert_eq!((ring.kind, data.next()), (kind, None));
        (ring.posted, ring.interrupt)
    };
    let mask = register::INTERRUPT_MASK + 4;
    pair.b
        .with(&mut pair.fabric, |nhi| nhi.registers().store(mask, 0));
    pair.send(b"held");
    assert_eq!(
        ring(&pair, 0, RingKind::Transmit),
        (Some(1), InterruptState::Quiet)
    );
    assert_eq!(
        ring(&pair, 1, RingKind::Receive),
        (Some(0), InterruptState::Quiet)
    );
    pair.post_rx(3);
    pair.step();
    assert_eq!(ring(&pair, 0, RingKind::Transmit).0, Some(0));
    assert_eq!(
        ring(&pair, 1, RingKind::Receive),
        (Some(2), InterruptState::Masked)
    );
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
fn end_to_end_flow_control_waits_when_the_path_is_closed() {
    let mut pair = Pair::connected(E2E);
    pair.post_rx(1);
    let lane = PORT_1.lane_0();
    let entry = [u32::from(NHI_ADAPTER.0) << 11 | u32::from(RX), 0];
    pair.b
        .config_write(&mut pair.fabric, PATH_SPACE, lane, 2 * HOP, &entry);
    pair.send(b"closed");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
    pair.b.path_in(&mut pair.fabric, PORT_1, HOP, RX);
    pair.step();
    assert_eq!(pair.received()[0].payload, b"closed");
}

#[test]
fn frames_larger_than_the_buffers_are_cut() {
    let mut pair = Pair::connected(E2E);
    pair.b.stop(&mut pair.fabric, Side::Rx, RX);
    pair.b.with(&mut pair.fabric, |nhi| {
        let size = 256 << 16 | u32::from(RING_SIZE);
        nhi.write_register(0x8000 + 0x20 + 12, &size.to_le_bytes());
        nhi.write_register(0x2_9800 + 0x40, &(1u32 << 31).to_le_bytes());
    });
    pair.post_rx(1);
    pair.send(&[7; 300]);
    let frame = &pair.received()[0];
    assert_eq!(frame.payload, [7; 256]);
    assert_eq!(frame.flags, COMPLETED | OVERRUN);
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
    pair.b.with(&mut pair.fabric, host_router_reset);
    pair.step();
    assert_eq!(pair.received(), []);
    assert_eq!(pair.link(), LinkState::Down);
    // A ring of the kernel that boots next must not find indices of this one's.
    pair.b.with(&mut pair.fabric, |nhi| {
        assert_eq!(nhi.registers().load(0x8000 + 0x20 + 8), 0);
    });
    let mut done = [0xff; 4];
    pair.b.with(&mut pair.fabric, |nhi| {
        nhi.read_register(0x3_9898, &mut done)
    });
    assert_eq!(done, [0; 4], "the driver waits for this");
}

#[test]
fn a_reset_stops_rings_and_closes_paths() {
    let restarted = || {
        let mut pair = Pair::connected(E2E);
        pair.post_rx(1);
        pair.b.with(&mut pair.fabric, host_router_reset);
        pair.b.start_control(&mut pair.fabric);
        pair.b.enumerate(&mut pair.fabric);
        assert_eq!(pair.link(), LinkState::Up);
        pair
    };
    let mut pair = restarted();
    pair.b.path_in(&mut pair.fabric, PORT_1, HOP, RX);
    pair.b.set_index(&mut pair.fabric, Side::Rx, RX, 1);
    pair.send(b"no ring");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
    let mut pair = restarted();
    pair.b.start(&mut pair.fabric, Side::Rx, RX, E2E);
    pair.post_rx(1);
    pair.send(b"no path");
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 0);
}

fn host_router_reset(nhi: &mut Nhi) {
    nhi.write_register(0x3_9898, &1u32.to_le_bytes());
}

#[test]
fn paths_end_at_the_nhi_or_nowhere() {
    let mut pair = Pair::connected(0);
    pair.post_rx(1);
    // To another lane adapter of the receiver.
    let entry = [1 << 31 | 1 << 11 | u32::from(RX), 0];
    let lane = PORT_1.lane_0();
    pair.b
        .config_write(&mut pair.fabric, PATH_SPACE, lane, 2 * HOP, &entry);
    pair.send(b"astray");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.counters().dropped, 1);
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

/// A guest that queues the stop of its receive ring while frames move.
struct StopsAfter {
    /// How often the NHI looks before it finds the stop.
    looks: u32,
}

impl InterruptSink for StopsAfter {
    fn raise(&mut self, _: Vector) -> Raised {
        Raised::Sent
    }
}

impl Attachment for StopsAfter {
    fn doorbells(&self) -> Doorbells {
        Doorbells::Queue
    }

    fn take_accesses(&mut self, nhi: &mut Nhi) -> Progress {
        let Some(looks) = self.looks.checked_sub(1) else {
            return Progress::Idle;
        };
        self.looks = looks;
        if looks > 0 {
            return Progress::Idle;
        }
        let options = register::RX_OPTIONS_BASE + usize::from(RX) * register::OPTIONS_STRIDE;
        nhi.write_register(options as u64, &[0; 4]);
        Progress::Moved
    }
}

#[test]
fn nothing_is_written_to_a_ring_once_its_stop_is_queued() {
    // Before each frame that enters the cable, and before each that leaves it late.
    for (latency_us, looks) in [(0, 5), (1, 25)] {
        let mut pair = Pair::connected(E2E);
        pair.set_faults(Faults {
            latency_us,
            ..Faults::default()
        });
        pair.post_rx(RING_SIZE - 1);
        for _ in 1..RING_SIZE {
            pair.a.post_tx(&mut pair.fabric, TX, b"frame", PDF);
        }
        pair.b.with(&mut pair.fabric, |nhi| {
            nhi.replace_attachment(Box::new(StopsAfter { looks }));
        });
        pair.step();
        pair.fabric.step(Instant::now() + Duration::from_millis(1));
        let received = pair.received().len();
        assert!((1..10).contains(&received), "{received}");
    }
}
