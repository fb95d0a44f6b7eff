// SPDX-License-Identifier: GPL-2.0

//! Whole fabrics, driven by hand.

mod faults;
mod frames;
mod hostile;
mod link;

use super::*;
use crate::control_packet::error_body;
use crate::control_packet::ErrorCode;
use crate::counters::DirectionCounters;
use crate::fake_guest::FakeGuest;
use crate::fake_guest::Received;
use crate::fake_guest::Side;
use crate::ids::AdapterNumber;

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
        pair.b.acknowledge(&mut pair.fabric, &events);
        let events = pair.a.control_received(&mut pair.fabric);
        pair.a.acknowledge(&mut pair.fabric, &events);
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

fn bodies(packets: &[ControlPacket]) -> Vec<(PacketKind, u32)> {
    packets
        .iter()
        .map(|packet| (packet.kind, packet.body[0]))
        .collect()
}
