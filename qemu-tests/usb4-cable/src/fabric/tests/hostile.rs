// SPDX-License-Identifier: GPL-2.0

//! Guests that do what no driver does.

use super::*;
use crate::fake_guest::address;
use crate::fake_guest::E2E;
use crate::fake_guest::ROUTER_SPACE;
use crate::frame::PdfField;

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
    for address in [0, !0xf, u64::MAX, 0x10_0004] {
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
