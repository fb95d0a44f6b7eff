// SPDX-License-Identifier: GPL-2.0

//! What may make it faster, as far as that can be seen from here.

use super::Bench;
use crate::check::finding::Verdict;
use crate::check::Check;
use crate::host::Host;

/// Below that part of what the cables carry, something else than the cables binds.
const NEAR: f64 = 0.6;

/// A ring of a controller moves about so much, in Gb/s.
const RING: u32 = 10;

/// What may help.
pub fn advice(host: &Host, bench: &Bench) -> Vec<String> {
    let mut advice = Vec::new();
    let cables = bench.link.cables.len();
    let is_near = match (bench.best_one_way(), bench.link.gbps) {
        (Some(best), 1..) => best / f64::from(bench.link.gbps) >= NEAR,
        _ => true,
    };
    let rings = cables as u32 * RING;
    if !is_near && bench.link.rails <= cables && bench.link.gbps > rings {
        advice.push(
            "Each cable has one stream, and one ring of a controller moves about 10 Gb/s on the hardware that others have measured: \
             try several a cable, with USB4_ROCE_STREAMS=auto in /etc/default/usb4-roce on both hosts, and a reboot."
                .to_owned(),
        );
    }
    // What is wrong with cables and rings, a check says better.
    const SPEED: [&str; 3] = ["cable-speed", "thunderbolt-net", "rail-data"];
    let check = Check::of(host);
    let slow = check
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Warning && SPEED.contains(&finding.check));
    advice.extend(slow.map(|finding| {
        let subject = finding
            .subject
            .as_ref()
            .map(|subject| format!("{subject}: "));
        format!(
            "{}{}; see: usb4-roce check.",
            subject.unwrap_or_default(),
            finding.says
        )
    }));
    let governors: Vec<&str> = host.governors.iter().map(String::as_str).collect();
    if governors.iter().any(|governor| *governor != "performance") {
        advice.push(format!(
            "The processors' clocks are governed by \"{}\": latency may be better with \"performance\" (sudo cpupower frequency-set -g \
             performance), at the cost of power.",
            governors.join("\", \"")
        ));
    }
    advice
}
