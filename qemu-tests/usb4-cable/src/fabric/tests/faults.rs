// SPDX-License-Identifier: GPL-2.0

//! Faulty cables.

use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::fake_guest::COMPLETED;
use crate::fake_guest::CRC_ERROR;
use crate::fake_guest::E2E;
use crate::fault::Flow;

#[test]
fn a_ring_at_its_rate_does_not_hold_others() {
    let mut pair = Pair::connected(E2E);
    let other = TX + 1;
    pair.a.start(&mut pair.fabric, Side::Tx, other, E2E);
    pair.a.path_out(&mut pair.fabric, other, PORT_0, HOP + 1);
    pair.b.path_in(&mut pair.fabric, PORT_1, HOP + 1, RX);
    pair.post_rx(4);
    // Slow enough for one frame a ring, which leaves a debt.
    pair.set_faults(Faults {
        ring_rate: NonZeroU64::new(1),
        ..Faults::default()
    });
    for ring in [TX, TX, other] {
        pair.a.post_tx(&mut pair.fabric, ring, b"frame", PDF);
    }
    let start = Instant::now();
    pair.fabric.step(start);
    let progress = pair.fabric.step(start + Duration::from_secs(1));
    assert_eq!(progress, Progress::Moved);
    let progress = pair.fabric.step(start + Duration::from_secs(2));
    assert_eq!(progress, Progress::Waiting);
    assert_eq!(pair.a.sent(&mut pair.fabric, TX), 1);
    assert_eq!(pair.a.sent(&mut pair.fabric, other), 1);
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
    assert_eq!(pair.counters().late_interrupts, 1);
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
    // The last one as well: it had to wait for the one before it.
    assert_eq!(pair.counters().delayed, 4);
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
