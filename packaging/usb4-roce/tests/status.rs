// SPDX-License-Identifier: GPL-2.0

//! The status of hosts.

use std::time::Duration;

use usb4_roce_tool::status::text;
use usb4_roce_tool::status::Status;

use fixture::Fixture;

mod fixture;

fn text_of(status: &Status) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    text::write(status, &mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

#[test]
fn all_is_shown_within_the_screen() {
    let host = Fixture::healthy(4);
    let status = Status::look(&host.source(), Duration::from_millis(1));
    let text = text_of(&status);
    for part in [
        "desk, Linux 7.3.4+deb13-amd64, usb4_roce",
        "usb4_roce0  port ACTIVE, 40 Gb/sec (4X QDR), GUID ffcf:bc2f:3ecb:9d8a",
        "usb4r0      up, MTU 9000, MAC 02:92:af:e3:7e:81",
        "GID 0, RoCE v2, fe80::92:afff:fee3:7e81",
        "GID 1, RoCE v2, 10.55.0.1",
        "shelf  ff3b:4f7f:2dcb:9d8a  02:53:41:c7:5d:f7         4",
        "1-3.0  tbstream3  up     2 x 20 Gb/s  12.3 GiB     282 B     3    0        0       0",
        "now: 0 out, 0 in; segments resent: 5, ACK timeouts: 0",
    ] {
        assert!(text.contains(part), "nothing of {part:?} in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn nothing_is_invented() {
    let host = Fixture::healthy(1);
    host.unload();
    let status = Status::look(&host.source(), Duration::from_millis(1));
    let text = text_of(&status);
    assert!(text.contains("usb4_roce is not loaded"), "{text}");
    assert!(text.contains("no verbs device"), "{text}");
    assert!(
        text.contains("cable 0-1 to shelf, 2 x 20 Gb/s: no rail"),
        "{text}"
    );
    assert_eq!(status.throughput, None);
}

#[test]
fn rates_that_differ_are_both_shown() {
    let host = Fixture::healthy(1);
    host.write("/sys/bus/thunderbolt/devices/0-1/tx_lanes", "3");
    host.write("/sys/bus/thunderbolt/devices/0-1/rx_lanes", "1");
    let text = text_of(&Status::of(&host.host()));
    assert!(text.contains("3 x 20 Gb/s out, 1 x 20 Gb/s in"), "{text}");
}

#[test]
fn a_cable_without_streams_is_a_cable() {
    let host = Fixture::healthy(1);
    host.remove("/sys/bus/thunderbolt/devices/0-1.0");
    host.write("/sys/kernel/config/usb4_roce/0-1.0/state", "detached");
    let text = text_of(&Status::of(&host.host()));
    assert!(text.contains("detached  2 x 20 Gb/s"), "{text}");
    assert!(text.contains("that host offers no streams"), "{text}");
    host.remove("/sys/bus/thunderbolt/devices/0-1");
    let text = text_of(&Status::of(&host.host()));
    assert!(text.contains("detached  no cable"), "{text}");
}

#[test]
fn the_document_says_the_same() {
    let host = Fixture::healthy(2);
    let status = Status::look(&host.source(), Duration::from_millis(1));
    let document = serde_json::to_value(&status).unwrap();
    assert_eq!(document["device"]["port_state"], "ACTIVE");
    assert_eq!(document["device"]["gids"][1]["ip"], "10.55.0.1");
    assert_eq!(document["peers"][0]["name"], "shelf");
    assert_eq!(document["rails"][1]["state"], "up");
    assert_eq!(document["rails"][1]["tx"]["lanes"], 2);
    assert_eq!(document["rails"][1]["counters"]["tx_lost"], 3);
    assert_eq!(document["throughput"]["out_bps"], 0.0);
}
