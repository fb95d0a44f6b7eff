// SPDX-License-Identifier: GPL-2.0

//! Is there a rail for each cable, and is it up?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::module::NETWORK;
use crate::host::module::USB4_ROCE;
use crate::host::rail::Details;
use crate::host::rail::Rail;
use crate::host::rail::State;
use crate::host::Host;
use crate::root::Reading;

const RAIL: &str = "rail";
const DATA: &str = "rail-data";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    if !host.modules.is_present(USB4_ROCE) {
        return vec![Finding::skipped(RAIL, "the module is not loaded")];
    }
    let services: Vec<&str> = host
        .bus
        .cables
        .iter()
        .filter_map(|cable| Some(cable.stream_service()?.name.as_str()))
        .collect();
    if services.is_empty() && host.rails.is_empty() {
        return vec![Finding::skipped(RAIL, "no other host offers streams")];
    }
    let mut findings = Vec::new();
    for service in &services {
        if host.rails_of(service).next().is_none() {
            findings.push(none(host, service).about(service));
        }
    }
    for rail in &host.rails {
        let is_cabled = services.contains(&rail.service_name());
        let found = match (&rail.details, is_cabled) {
            (_, false) => vec![uncabled(host, rail)],
            (Reading::Found(details), true) => {
                let mut found = vec![state(host, rail, details)];
                found.extend(data(details));
                found
            }
            (Reading::NeedsRoot, true) => vec![Finding::needs_root(RAIL, "its state")],
            (Reading::Missing, true) => {
                vec![Finding::unknown(RAIL, "the module does not say its state")]
            }
        };
        findings.extend(found.into_iter().map(|finding| finding.about(&rail.name)));
    }
    findings
}

/// The command by which the helper does something about a service.
fn helper(host: &Host, action: &str, service: &str) -> String {
    format!("sudo {} {action} {service}", host.installation.helper)
}

fn none(host: &Host, service: &str) -> Finding {
    Finding::fault(
        RAIL,
        "this cable has no rail",
        Remedy::new("Make one, on both hosts.").run(helper(host, "start", service)),
    )
}

fn uncabled(host: &Host, rail: &Rail) -> Finding {
    Finding::warning(
        RAIL,
        "waits for its cable, or for the other host to offer streams",
        Remedy::new(
            "It comes up by itself when the cable is plugged. If there will be none, take it away.",
        )
        .run(helper(host, "stop", rail.service_name())),
    )
}

fn state(host: &Host, rail: &Rail, details: &Details) -> Finding {
    let service = rail.service_name();
    let again = |says: &str, text: &str| {
        Finding::fault(
            RAIL,
            says,
            Remedy::new(text)
                .run(helper(host, "stop", service))
                .run(helper(host, "start", service)),
        )
    };
    match &details.state {
        State::Up => {
            let peer = details.peer.as_ref().map_or("a host without a name", |peer| &peer.name);
            let stream = details.stream.as_deref().unwrap_or("a stream");
            Finding::ok(RAIL, format!("up to {peer}, over {stream}"))
        }
        State::Greeting | State::Closing => Finding::fault(
            RAIL,
            "its stream is open, but the other host's rail does not answer",
            Remedy::new("See whether the other host has a rail too: run this check there. Then make this host known again.")
                .run(helper(host, "announce", service)),
        ),
        State::Detached => Finding::fault(
            RAIL,
            "no stream of the other host answers to its stream",
            Remedy::new("Make a rail on the other host as well, and make this one known again.")
                .run(helper(host, "announce", service)),
        ),
        State::Removed => again("its stream was taken away", "Make stream and rail anew."),
        State::Stopped => again("it has no stream", "Make stream and rail anew."),
        State::Failed(error) => failed(host, service, error),
        State::Unknown(text) => Finding::unknown(RAIL, format!("in a state that this program does not know: {text}")),
    }
}

/// Errors by their numbers: a kernel without their names prints these.
fn is_error(error: &str, name: &str, number: u32) -> bool {
    let digits: String = error.chars().filter(char::is_ascii_digit).collect();
    error == name || digits == number.to_string()
}

fn failed(host: &Host, service: &str, error: &str) -> Finding {
    const EINVAL: u32 = 22;
    const ENOMEM: u32 = 12;
    if is_error(error, "ENOMEM", ENOMEM) {
        let says = "the controller has no ring or no path left for its stream (ENOMEM)";
        let remedy = if host.modules.is_present(NETWORK) {
            Remedy::new(format!(
                "{NETWORK} has one: unload it. The rail comes up by itself then."
            ))
            .run(format!("sudo rmmod {NETWORK}"))
        } else {
            Remedy::new(
                "Use fewer streams for each cable (USB4_ROCE_STREAMS), or no more cables than the controller has rings for; or \
                 replug the cable.",
            )
        };
        Finding::fault(RAIL, says, remedy)
    } else if is_error(error, "EINVAL", EINVAL) {
        Finding::fault(
            RAIL,
            "its stream has no path numbers (HopIDs) yet (EINVAL)",
            Remedy::new(
                "One of the hosts has to choose them, which the helper does when it runs on both.",
            )
            .run(helper(host, "start", service)),
        )
    } else {
        Finding::fault(
            RAIL,
            format!("its stream cannot be opened ({error})"),
            Remedy::new("Unplug the cable for a few seconds, and see what the kernel says.")
                .run("sudo dmesg | grep -E 'usb4_roce|thunderbolt' | tail -n 20"),
        )
    }
}

/// What cables do to data is repaired; it costs time.
fn data(details: &Details) -> Option<Finding> {
    let damaged = details.counters.get("rx_checksum_errors") + details.counters.get("rx_resyncs");
    let frames = details.counters.get("rx_frames");
    (damaged > 0).then(|| {
        Finding::warning(
            DATA,
            format!("{damaged} times, data was damaged on its way here, in {frames} frames; it was sent again"),
            Remedy::new("If that grows while data moves, try another cable or port."),
        )
    })
}
