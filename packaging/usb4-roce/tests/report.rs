// SPDX-License-Identifier: GPL-2.0

//! What is attached to bug reports, and what is not.

use usb4_roce_tool::report::report;

use fixture::Fixture;

mod fixture;

#[test]
fn it_has_all_parts() {
    let host = Fixture::healthy(2);
    let report = report(&host.source()).unwrap();
    for part in [
        "kernel 7.3.4+deb13-amd64",
        "distribution Debian GNU/Linux 13 (trixie)",
        "CONFIG_USB4_STREAM=m",
        "usb4_roce 729088 4 - Live",
        "\"check\": \"cable-speed\"",
        "\"port_state\": \"ACTIVE\"",
        "rx_speed: 20.0 Gb/s",
        "key: stream",
        "/sys/kernel/config/thunderbolt/stream/0-3.0/u4roce",
        "state: up",
        "repeated_requests: 5",
        "[    2.320000] thunderbolt 0-1: Linux host-2",
        "rail 0-1.0: up, peer host-2 (guid-",
        "unique_id: uuid-1",
    ] {
        assert!(report.contains(part), "nothing of {part:?} in\n{report}");
    }
    assert!(!report.contains("EXT4"), "{report}");
}

#[test]
fn it_has_no_secrets() {
    let host = Fixture::healthy(4);
    let report = report(&host.source()).unwrap().to_lowercase();
    for secret in [
        "shelf",
        "desk",
        "003043d0",
        "00c4b080",
        "ff3b4f7f2dcb9d8a",
        "ff3b:4f7f",
        "ffcf:bc2f",
        "02:53:41",
        "02:92:af",
        "10.55.0",
        "92:afff",
        "0a37:0001",
        "192.0.2",
        // By which docks are recognised.
        "5ec7e7",
        // Where the kernel is in memory.
        "a08f3000",
    ] {
        assert!(!report.contains(secret), "{secret} is in\n{report}");
    }
}

#[test]
fn what_needs_root_is_said_to() {
    let host = Fixture::healthy(1);
    host.remove("/dev/kmsg");
    let report = report(&host.source()).unwrap();
    assert!(report.contains("Not run as root"), "{report}");
    assert!(
        report.contains("the kernel's log was not found"),
        "{report}"
    );
}
