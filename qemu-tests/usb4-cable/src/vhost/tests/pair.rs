// SPDX-License-Identifier: GPL-2.0

//! Two hosts with a cable, at least one of them on vhost-user.

use super::*;
use crate::fake_guest::FakeGuest;
use crate::fake_guest::Side;
use crate::fake_guest::COMPLETED;
use crate::fake_guest::E2E;
use crate::fake_guest::RING_SIZE;
use crate::ids::PortNumber;

/// The rings used; different at both ends so that a mix-up shows.
const TX: u8 = 1;
const RX: u8 = 2;
const HOP: u32 = 8;
const PDF: u8 = 3;

/// How a guest reaches its NHI.
#[derive(Clone, Copy)]
enum Reach {
    /// As over vfio-user: it has its registers in memory.
    Memory,
    /// Over vhost-user.
    Queue,
}

fn attach(bench: &Bench, nhi: usize, reach: Reach) -> FakeGuest {
    match reach {
        Reach::Memory => FakeGuest::attach(&mut bench.fabric.lock(), NhiIndex(nhi)),
        Reach::Queue => {
            let driver = bench.connect(nhi);
            FakeGuest::queueing(&mut bench.fabric.lock(), NhiIndex(nhi), driver)
        }
    }
}

/// Brings the link up, and a path from `a` to `b`.
fn connect(fabric: &mut Fabric, a: &mut FakeGuest, b: &mut FakeGuest) {
    assert_eq!(a.enumerate(fabric), []);
    let events = b.enumerate(fabric);
    fabric.step(Instant::now());
    b.acknowledge(fabric, &events);
    let events = a.control_received(fabric);
    a.acknowledge(fabric, &events);
    a.start(fabric, Side::Tx, TX, E2E);
    b.start(fabric, Side::Rx, RX, E2E);
    a.path_out(fabric, TX, PortNumber(0), HOP);
    b.path_in(fabric, PortNumber(1), HOP, RX);
}

fn vectors(guest: &mut FakeGuest) -> Vec<u8> {
    match &mut guest.driver {
        Some(driver) => driver.take_vectors(),
        None => guest.interrupts.take(),
    }
}

#[test]
fn frames_move_between_hosts_of_either_kind() {
    use Reach::Memory;
    use Reach::Queue;
    for (one, other) in [(Queue, Queue), (Queue, Memory), (Memory, Queue)] {
        let bench = Bench::new();
        let (mut a, mut b) = (attach(&bench, 0, one), attach(&bench, 1, other));
        let fabric = &mut bench.fabric.lock();
        connect(fabric, &mut a, &mut b);
        vectors(&mut a);
        vectors(&mut b);
        for round in 0..20u8 {
            b.post_rx(fabric, RX, 5);
            for number in 0..5 {
                let payload = vec![round + number; 4096 - usize::from(number)];
                a.post_tx(fabric, TX, &payload, PDF);
            }
            fabric.step(Instant::now());
            assert_eq!(a.sent(fabric, TX), 5);
            let frames = b.received(fabric, RX);
            assert_eq!(frames.len(), 5);
            for (number, frame) in (0..).zip(frames) {
                let payload = vec![round + number; 4096 - usize::from(number)];
                assert_eq!((frame.payload, frame.flags), (payload, COMPLETED));
            }
            assert_eq!((vectors(&mut a), vectors(&mut b)), (vec![0], vec![0]));
        }
    }
}

#[test]
fn a_stopped_ring_is_not_written() {
    let bench = Bench::new();
    let mut a = attach(&bench, 0, Reach::Queue);
    let mut b = attach(&bench, 1, Reach::Queue);
    let fabric = &mut bench.fabric.lock();
    connect(fabric, &mut a, &mut b);
    b.post_rx(fabric, RX, RING_SIZE - 1);
    fabric.step(Instant::now());
    a.post_tx(fabric, TX, b"late", PDF);
    b.stop(fabric, Side::Rx, RX);
    fabric.step(Instant::now());
    assert_eq!(b.received(fabric, RX), []);
}
