// SPDX-License-Identifier: GPL-2.0

//! Hosts that work, and hosts with a fault each.

use usb4_roce_tool::check::finding::Verdict;
use usb4_roce_tool::check::text;
use usb4_roce_tool::check::Check;
use usb4_roce_tool::exit::Exit;

use fixture::of;
use fixture::with;
use fixture::Fixture;
use plant::PLANTS;

mod fixture;
mod plant;

#[test]
fn a_host_that_works_is_well() {
    for cables in [1, 2, 4] {
        let check = Fixture::healthy(cables).check();
        let verdicts = check
            .findings
            .iter()
            .filter(|finding| finding.verdict != Verdict::Ok);
        assert_eq!(verdicts.collect::<Vec<_>>(), Vec::<&_>::new());
        assert_eq!(check.exit(), Exit::Well);
        for name in ["cable", "cable-speed", "stream-service"] {
            assert_eq!(of(&check, name).len(), cables as usize);
        }
        assert_eq!(of(&check, "rail").len(), cables as usize);
        assert_eq!(of(&check, "controller").len(), cables.div_ceil(2) as usize);
    }
}

#[test]
fn each_fault_is_found_with_its_remedy() {
    for plant in PLANTS {
        let mut host = Fixture::healthy(2);
        (plant.plant)(&mut host);
        let check = host.check();
        let found = of(&check, plant.check);
        let found = found
            .iter()
            .find(|finding| finding.verdict == plant.verdict);
        let name = plant.name;
        let finding = found.unwrap_or_else(|| panic!("{name}: {:#?}", check.findings));
        let remedy = finding
            .remedy
            .as_ref()
            .unwrap_or_else(|| panic!("{name}: no remedy"));
        let all = format!(
            "{}\n{}\n{}",
            finding.says,
            remedy.text,
            remedy.commands.join("\n")
        );
        for part in plant.says {
            assert!(all.contains(part), "{name}: nothing of {part:?} in\n{all}");
        }
        assert_eq!(
            check.exit() == Exit::Fault,
            !with(&check, Verdict::Fault).is_empty(),
            "{name}"
        );
        fits_the_screen(&check, name);
    }
}

/// Only commands, which are copied, may be longer.
fn fits_the_screen(check: &Check, name: &str) {
    let mut out = anstream::StripStream::new(Vec::new());
    text::write(check, &mut out).unwrap();
    let text = String::from_utf8(out.into_inner()).unwrap();
    assert!(!text.contains('\x1b'));
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with("$ "))
    {
        assert!(line.chars().count() <= 100, "{name}: {line}");
    }
}

#[test]
fn warnings_are_no_faults() {
    let host = Fixture::healthy(1);
    host.write("/sys/module/thunderbolt_net/initstate", "live");
    let check = host.check();
    assert_eq!(with(&check, Verdict::Warning), ["thunderbolt-net"]);
    assert_eq!(check.exit(), Exit::Well);
}

#[test]
fn what_cannot_be_told_has_its_own_status() {
    let host = Fixture::healthy(1);
    host.remove("/proc/self/limits");
    let check = host.check();
    assert_eq!(with(&check, Verdict::Unknown), ["memlock"]);
    assert_eq!(check.exit(), Exit::CannotTell);
    host.write("/sys/class/net/usb4r0/flags", "0x1002");
    assert_eq!(host.check().exit(), Exit::Fault);
}

/// A missing module is one fault, not ten.
#[test]
fn what_follows_from_a_fault_is_skipped() {
    let host = Fixture::healthy(2);
    host.unload();
    let check = host.check();
    assert_eq!(with(&check, Verdict::Fault), ["module"]);
    assert!(with(&check, Verdict::Skipped).contains(&"rail"));
}

#[test]
fn a_renamed_device_and_interface_are_found() {
    let host = Fixture::healthy(1);
    host.remove("/sys/class/infiniband_verbs/uverbs1/ibdev");
    host.write("/sys/class/infiniband_verbs/uverbs1/ibdev", "rocep0s13f2");
    let check = host.check();
    assert_eq!(with(&check, Verdict::Fault), ["access"]);
}

#[test]
fn the_document_has_findings_and_their_count() {
    let host = Fixture::healthy(1);
    host.remove("/sys/module/rdma_ucm");
    let document = serde_json::to_value(host.check()).unwrap();
    assert_eq!(document["summary"]["warnings"], 1);
    assert_eq!(document["summary"]["faults"], 0);
    let findings = document["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|finding| finding["check"] == "rdma-cm")
        .unwrap();
    assert_eq!(finding["verdict"], "warning");
    assert_eq!(finding["remedy"]["commands"][0], "sudo modprobe rdma_ucm");
}
