// SPDX-License-Identifier: GPL-2.0

//! Is another host connected, how fast is the cable, and does the other host offer streams?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::bus::Discovery;
use crate::host::bus::Port;
use crate::host::cable::Cable;
use crate::host::controller::Controller;
use crate::host::link_rate::LinkRate;
use crate::host::module::STREAM;
use crate::host::Host;
use crate::root::Reading;

const CABLE: &str = "cable";
const SPEED: &str = "cable-speed";
const SERVICE: &str = "stream-service";

/// What every USB4 port can at the least.
const LEAST: LinkRate = LinkRate {
    lanes: 2,
    lane_gbps: 10,
};

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    if !host.controllers.iter().any(Controller::works) {
        return vec![Finding::skipped(CABLE, "no controller works")];
    }
    let cables = &host.bus.cables;
    if cables.is_empty() {
        return vec![none(host)];
    }
    let best = cables
        .iter()
        .filter_map(|cable| cable.rate())
        .map(LinkRate::gbps)
        .max();
    let mut findings = Vec::new();
    for cable in cables {
        let peer = cable.peer.as_deref().unwrap_or("a host without a name");
        let connected = Finding::ok(CABLE, format!("leads to {peer}, at port {}", cable.port));
        for finding in [connected, speed(cable, best), service(host, cable)] {
            findings.push(finding.about(&cable.name));
        }
    }
    let unknown = host.bus.unknown_ends();
    findings.extend(
        unknown
            .into_iter()
            .map(|port| unknown_end(port).about(&port_name(port))),
    );
    findings
}

fn port_name(port: &Port) -> String {
    format!("{}-0/usb4_port{}", port.domain, port.number)
}

fn none(host: &Host) -> Finding {
    if host.bus.discovery == Discovery::Off {
        return Finding::fault(
            CABLE,
            "the kernel was told not to look for other hosts (thunderbolt.xdomain=0)",
            Remedy::new(
                "Take that off the kernel's command line and out of /etc/modprobe.d, and reboot.",
            )
            .run("grep -rs xdomain /proc/cmdline /etc/modprobe.d /etc/default/grub"),
        );
    }
    if let Some(port) = host.bus.unknown_ends().first() {
        return Finding::fault(
            CABLE,
            format!(
                "something is plugged into port {} ({}), but no other host answers there",
                port.number, port.link
            ),
            Remedy::new(
                "If it is the other host: boot Linux there, and load its driver (sudo modprobe thunderbolt). If that is so \
                 already, unplug the cable for a few seconds.",
            ),
        );
    }
    Finding::fault(
        CABLE,
        "no other host is connected",
        Remedy::new(
            "Connect two USB4 or Thunderbolt ports with a USB4 or Thunderbolt cable: ports and cables for USB 3 or charging look \
             the same. If it is plugged, try its other end, and another port.",
        ),
    )
}

/// Ports with something other than a known host are no trouble as long as there is one somewhere: docks and displays are plugged in too.
fn unknown_end(port: &Port) -> Finding {
    Finding::ok(
        CABLE,
        format!(
            "a link ({}) without another host: a dock or display?",
            port.link
        ),
    )
}

fn speed(cable: &Cable, best: Option<u32>) -> Finding {
    let Some(rate) = cable.rate() else {
        return Finding::unknown(SPEED, "the kernel does not say how fast the cable is");
    };
    let slow = |than: &str| {
        Finding::warning(
            SPEED,
            format!("{rate}, {than}"),
            Remedy::new(
                "Unplug it at one end for a few seconds. If that does not help: a shorter cable, marked 40 or 80 Gb/s, its other \
                 end up, another port; on the other host, this check.",
            ),
        )
    };
    match &cable.port_rate {
        Reading::Found(port) if rate.gbps() < port.gbps() => {
            slow(&format!("where this host's port can {port}"))
        }
        _ if rate.lanes < LEAST.lanes => slow("so one of its two lanes is not in use"),
        Reading::Found(port) => Finding::ok(
            SPEED,
            format!("{rate}, which is all that the port can ({port})"),
        ),
        _ if best.is_some_and(|best| rate.gbps() < best) => {
            slow("less than another cable of this host")
        }
        _ if rate.gbps() <= LEAST.gbps() => {
            slow("the least that USB4 has; what the port can: needs root")
        }
        Reading::NeedsRoot => Finding::ok(SPEED, format!("{rate} (what the port can: needs root)")),
        Reading::Missing => Finding::ok(
            SPEED,
            format!("{rate} (what the port can, the kernel does not say)"),
        ),
    }
}

fn service(host: &Host, cable: &Cable) -> Finding {
    match cable.stream_service() {
        None => Finding::fault(
            SERVICE,
            "the other host offers no streams over this cable",
            Remedy::new(format!(
                "On the other host, load the stream driver (sudo modprobe {STREAM}; Linux 7.2 or later has it), and run this check there.",
            )),
        ),
        Some(service) if service.driver.is_none() && host.modules.is_present(STREAM) => Finding::fault(
            SERVICE,
            format!("{STREAM} does not drive the service {}", service.name),
            Remedy::new("Unplug the cable for a few seconds: the kernel does not take up a service twice."),
        ),
        Some(service) => Finding::ok(SERVICE, format!("offers streams as {}", service.name)),
    }
}
