// SPDX-License-Identifier: GPL-2.0

//! What is installed beside the module: the helper, the udev rule and the systemd unit. The hosts run neither
//! udev nor systemd, so each is tried by itself.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::Ping;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// The helper where it is installed.
const HELPER: &str = "/usr/libexec/usb4-roce-setup";

/// What is installed, in the share.
pub const INSTALLED: &str = "installed";

/// The stream service at the other end of the cable.
const SERVICE: &str = "0-1.0";

/// The suite, with two cables.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 3, run);
    Suite {
        name: "packaging",
        lab: Lab {
            fabric: Fabric {
                rails: 2,
                ..Fabric::PAIR
            },
            subject: Subject::Package,
            prepare,
            ..Lab::MODULE
        },
        tests: vec![
            test("helper-makes-rails", helper_makes_rails),
            test("rails-are-no-secret", rails_are_no_secret),
            test("helper-forgets-what-is-gone", helper_forgets_what_is_gone),
            test("helper-takes-rails-away", helper_takes_rails_away),
            test("helper-announces-streams", helper_announces_streams),
            test("helper-waits-for-good", helper_waits_for_good),
            test("helper-gives-an-address", helper_gives_an_address),
            test("helper-refuses-nonsense", helper_refuses_nonsense),
            test("udev-rule", udev_rule),
            test("systemd-unit", systemd_unit),
        ],
    }
}

/// Installs everything on the hosts.
fn prepare(stage: &Stage<'_>) -> Result<()> {
    let install = format!("cp -r /lab/share/{INSTALLED}/. /");
    stage.instance().on_each(|host| {
        stage.shell(host, &install, LIMIT)?;
        Ok(())
    })
}

/// On both hosts at once, twice: what is there already stays.
fn helper_makes_rails(stage: &Stage<'_>) -> Result<Outcome> {
    for _ in 0..2 {
        let start = format!("{HELPER} start");
        let jobs = [
            stage.start("a", &start, LIMIT)?,
            stage.start("b", &start, LIMIT)?,
        ];
        for job in &jobs {
            stage.finish(job, LIMIT)?;
        }
        roce::await_up(stage.instance())?;
    }
    for host in ["a", "b"] {
        let rails = stage.shell(host, "ls /sys/kernel/config/usb4_roce/*/state", LIMIT)?;
        ensure!(rails.lines().count() == 2, "{host} has the rails\n{rails}");
        let address = roce::address(host);
        let script = format!(
            "ip link set {INTERFACE} up && ip address replace {address}/24 dev {INTERFACE}"
        );
        stage.shell(host, &script, LIMIT)?;
    }
    let announce = format!("{HELPER} announce");
    let said = stage.shell("a", &announce, LIMIT)?;
    let is_up = |line: &str| line.ends_with(": up, streams: 1");
    ensure!(said.lines().all(is_up), "{said}");
    Ping::small(3, &roce::address("b")).run(stage, "a", LIMIT)?;
    Ok(Outcome::Passed)
}

/// Everybody may see how a rail is, and nobody but root may change it.
fn rails_are_no_secret(stage: &Stage<'_>) -> Result<Outcome> {
    let script = format!(
        "cd /sys/kernel/config/usb4_roce/{SERVICE} && grep -qx {SERVICE} service && grep -qx up state && grep -q ^tx_ counters &&
        [ -s peer ] && ! echo > stream"
    );
    let nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all";
    stage.shell("a", &format!("exec {nobody} sh -c '{script}' 2>&1"), LIMIT)?;
    Ok(Outcome::Passed)
}

/// The cable's service had another number before; that of another cable is left alone.
fn helper_forgets_what_is_gone(stage: &Stage<'_>) -> Result<Outcome> {
    let script = format!(
        "cd /sys/kernel/config && for gone in 0-1.7 0-3.7; do mkdir -p thunderbolt/stream/$gone/u4roce usb4_roce/$gone || exit; done
        {HELPER} start {SERVICE} || exit
        [ ! -e thunderbolt/stream/0-1.7 ] && [ ! -e usb4_roce/0-1.7 ] && [ -d usb4_roce/0-3.7 ] && grep -qx up usb4_roce/{SERVICE}/state || exit
        rmdir usb4_roce/0-3.7 thunderbolt/stream/0-3.7/u4roce thunderbolt/stream/0-3.7"
    );
    let said = stage.shell("a", &script, LIMIT)?;
    ensure!(said.contains("takes the place of 0-1.7"), "{said}");
    Ok(Outcome::Passed)
}

fn helper_takes_rails_away(stage: &Stage<'_>) -> Result<Outcome> {
    let nothing = "! ls -d /sys/kernel/config/usb4_roce/*/ 2>/dev/null && \
        ! ls -d /sys/kernel/config/thunderbolt/stream/*/ 2>/dev/null";
    for host in ["a", "b"] {
        stage.shell(host, &format!("{HELPER} stop && {nothing}"), LIMIT)?;
        stage.shell(host, "rmmod usb4_roce && modprobe usb4_roce", LIMIT)?;
    }
    Ok(Outcome::Passed)
}

/// As long as a rail is not up, the other host is made to look for streams again, which its kernel tells of with
/// an event.
fn helper_announces_streams(stage: &Stage<'_>) -> Result<Outcome> {
    const EVENTS: &str = "/tmp/events";
    let await_event = |event: &str| format!("until grep -q '{event}' {EVENTS}; do sleep 0.1; done");
    let monitor =
        format!("exec udevadm monitor --kernel --subsystem-match=thunderbolt > {EVENTS} & echo $!");
    let pid = stage.shell("b", &monitor, LIMIT)?;
    stage.shell("b", &await_event("the kernel uevent"), LIMIT)?;
    let announce = format!(
        "stream=/sys/kernel/config/thunderbolt/stream/{SERVICE}/u4roce
        mkdir -p $stream && USB4_ROCE_PATIENCE=1 {HELPER} announce {SERVICE}; status=$?
        rmdir $stream && exit $status"
    );
    let output = stage.attempt("a", &announce, LIMIT)?;
    let text = output.everything();
    ensure!(
        !output.status.success() && text.contains("the rail does not come up"),
        "without rails it says: {text}"
    );
    stage.shell("b", &await_event("change .*/0-1 "), LIMIT)?;
    stage.shell("b", &format!("kill {pid}"), LIMIT)?;
    Ok(Outcome::Passed)
}

/// As the unit has it: whoever comes first waits for the other host, and says so once.
fn helper_waits_for_good(stage: &Stage<'_>) -> Result<Outcome> {
    let keep = format!("USB4_ROCE_PATIENCE=forever {HELPER} keep {SERVICE}");
    let first = stage.start("a", &keep, LIMIT)?;
    let alone = "sleep 20; ! grep -qx up /sys/kernel/config/usb4_roce/*/state 2>/dev/null";
    stage.shell("a", alone, LIMIT)?;
    stage.shell("b", &keep, LIMIT)?;
    let said = stage.finish(&first, LIMIT)?;
    ensure!(
        said.matches(": waiting for the other host").count() == 1,
        "{said}"
    );
    ensure!(said.contains(": up, streams: 1"), "{said}");
    for host in ["a", "b"] {
        stage.shell(host, &format!("{HELPER} stop"), LIMIT)?;
    }
    Ok(Outcome::Passed)
}

/// Nobody else does on these hosts. It is the same one each time, and each host's own.
fn helper_gives_an_address(stage: &Stage<'_>) -> Result<Outcome> {
    let script = format!(
        "ip address flush dev {INTERFACE} && {HELPER} address && {HELPER} address &&
        ip -4 -oneline address show dev {INTERFACE} up"
    );
    let mut given = Vec::new();
    for host in ["a", "a", "b"] {
        let said = stage.shell(host, &script, LIMIT)?;
        ensure!(
            said.lines().count() == 1 && said.contains(" inet 169.254."),
            "{said}"
        );
        let address = said.split_whitespace().nth(3).unwrap_or_default();
        given.push(address.to_owned());
    }
    ensure!(given[0] == given[1] && given[0] != given[2], "{given:?}");
    Ok(Outcome::Passed)
}

fn helper_refuses_nonsense(stage: &Stage<'_>) -> Result<Outcome> {
    let output = stage.attempt(
        "a",
        &format!("USB4_ROCE_PATIENCE=soon {HELPER} start"),
        LIMIT,
    )?;
    ensure!(
        output.everything().contains("USB4_ROCE_PATIENCE is"),
        "patience that is no number was taken"
    );
    for arguments in ["", "begin", "start ../x", "start 9-9.9", "start ''"] {
        let output = stage.attempt("a", &format!("{HELPER} {arguments}"), LIMIT)?;
        ensure!(!output.status.success(), "`{arguments}` was taken");
        let text = output.everything();
        ensure!(
            text.contains("usb4-roce-setup: "),
            "nothing is said about `{arguments}`: {text}"
        );
    }
    Ok(Outcome::Passed)
}

/// udev wants the unit for the stream service of each cable, and for no other device.
fn udev_rule(stage: &Stage<'_>) -> Result<Outcome> {
    stage.shell(
        "a",
        "udevadm verify /usr/lib/udev/rules.d/76-usb4-roce.rules",
        LIMIT,
    )?;
    let script = "/usr/lib/systemd/systemd-udevd --daemon && \
        udevadm trigger --action=add --settle --subsystem-match=thunderbolt && \
        for device in /sys/bus/thunderbolt/devices/*; do
          for wanted in $(udevadm info --query=property --property=SYSTEMD_WANTS --value $device); do
            echo $(basename $device) $wanted
          done
        done; udevadm control --exit";
    let wanted = stage.shell("a", script, LIMIT)?;
    let expected: Vec<String> = stage
        .shell(
            "a",
            "basename -a $(dirname $(grep -lsx stream /sys/bus/thunderbolt/devices/*/key))",
            LIMIT,
        )?
        .lines()
        .map(|service| format!("{service} usb4-roce@{service}.service"))
        .collect();
    let wanted: Vec<&str> = wanted.lines().collect();
    ensure!(
        wanted == expected,
        "udev wants {wanted:?}; expected {expected:?}"
    );
    Ok(Outcome::Passed)
}

fn systemd_unit(stage: &Stage<'_>) -> Result<Outcome> {
    let unit = format!("usb4-roce@{SERVICE}.service");
    let said = stage.shell("a", &format!("systemd-analyze verify {unit} 2>&1"), LIMIT)?;
    // It complains of what it would start with a status of success.
    ensure!(!said.contains("usb4-roce"), "{said}");
    Ok(Outcome::Passed)
}
