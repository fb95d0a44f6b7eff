// SPDX-License-Identifier: GPL-2.0

//! Links that come and go, and the control packets across them.

use super::*;
use crate::fake_guest::address;
use crate::fake_guest::ADAPTER_SPACE;
use crate::fake_guest::ROUTER_SPACE;
use crate::topology::LinkSpeed;

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
    pair.b.acknowledge(&mut pair.fabric, &events);
    pair.a = FakeGuest::attach(&mut pair.fabric, NhiIndex(0));
    pair.a.enumerate(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Up);
    pair.step();
    let events = pair.b.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 3)]);
}

/// As the driver on its way to sleep: sets the router's sleep bit and stops the control channel.
fn sleep(guest: &mut FakeGuest, fabric: &mut Fabric) {
    let answers = guest.config_write(fabric, ROUTER_SPACE, AdapterNumber(0), 5, &[1]);
    assert_eq!(answers.len(), 1, "nothing but the answer: {answers:?}");
    guest.stop(fabric, Side::Rx, 0);
    guest.stop(fabric, Side::Tx, 0);
}

#[test]
fn a_host_that_sleeps_is_unplugged_and_plugged() {
    let mut pair = Pair::linked();
    sleep(&mut pair.a, &mut pair.fabric);
    pair.step();
    assert_eq!(pair.link(), LinkState::Down);
    let events = pair.b.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 3 | 1 << 31)]);
    pair.b.acknowledge(&mut pair.fabric, &events);
    pair.a.start_control(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Up);
    pair.step();
    for (guest, plugged) in [(&mut pair.a, 1), (&mut pair.b, 3)] {
        let events = guest.control_received(&mut pair.fabric);
        assert_eq!(bodies(&events), [(PacketKind::Hotplug, plugged)]);
    }
}

#[test]
fn a_router_that_sleeps_survives_a_reset_of_the_machine() {
    let mut pair = Pair::linked();
    sleep(&mut pair.a, &mut pair.fabric);
    pair.a.with(&mut pair.fabric, Nhi::reset_by_machine);
    pair.a.start_control(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Up);
    pair.a.with(&mut pair.fabric, Nhi::reset_by_machine);
    pair.a.start_control(&mut pair.fabric);
    assert_eq!(pair.link(), LinkState::Down, "it did not sleep");
}

#[test]
fn a_cable_pulled_in_sleep_is_out_afterwards() {
    let mut pair = Pair::linked();
    sleep(&mut pair.a, &mut pair.fabric);
    pair.plug(Plug::Unplugged);
    pair.a.start_control(&mut pair.fabric);
    pair.step();
    assert_eq!(pair.link(), LinkState::Down);
    assert_eq!(pair.a.control_received(&mut pair.fabric), []);
    pair.plug(Plug::Plugged);
    pair.step();
    let events = pair.a.control_received(&mut pair.fabric);
    assert_eq!(bodies(&events), [(PacketKind::Hotplug, 1)]);
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
    pair.a.acknowledge(&mut pair.fabric, &events);
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
fn answers_echo_the_address_but_for_the_adapter() {
    let mut pair = Pair::powered();
    let sent = address(ADAPTER_SPACE, PORT_1.lane_0(), 3, 1);
    let read = ControlPacket {
        kind: PacketKind::Read,
        route: Route::HOST,
        body: vec![sent.0 | 2 << 27],
    };
    let answer = &pair.a.control(&mut pair.fabric, &read)[0];
    // The driver takes it for the upstream adapter.
    let expected = sent.with_adapter(NHI_ADAPTER).0 | 2 << 27;
    assert_eq!(answer.body, [expected, 3 << 20]);
}

#[test]
fn requests_for_no_cable() {
    let mut pair = Pair::linked();
    let request = Request::Unplug { cable: "d".into() };
    let answer = pair.fabric.execute(request, Instant::now());
    assert!(matches!(answer, Answer::Error { message } if message.contains("\"d\"")));
}
