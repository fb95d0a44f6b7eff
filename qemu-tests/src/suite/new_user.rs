// SPDX-License-Identifier: GPL-2.0

//! What a new user does: install the packages on two plain Debian hosts whose cable is in, and use it. Nothing is configured. Each test goes on
//! where the one before has ended; host a has NetworkManager, host b systemd-networkd.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;

use super::native::Need;
use super::Lab;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Time limit of a command. Installing looks through all modules of the kernel, which takes an emulated host minutes.
const LIMIT: Duration = Duration::from_secs(900);

/// Time limit of a test: installing, and a reboot.
const TEST_LIMIT: Duration = Duration::from_secs(2700);

/// Who uses it.
const USER: &str = "ada";

/// Bytes that are summed: registering so many takes more than the 8 MiB that users may lock otherwise.
const BYTES: u64 = 16 << 20;

/// Installs the packages. Native hosts have a kernel that no package is for: one that is empty stands for it.
const INSTALL: &str = "\
export DEBIAN_FRONTEND=noninteractive
kernel=linux-image-$(uname -r)
if ! dpkg --status $kernel > /dev/null 2>&1; then
  mkdir -p /tmp/kernel/DEBIAN &&
  printf 'Package: %s\\nVersion: 1\\nArchitecture: all\\nMaintainer: The lab <lab@localhost>\\nDescription: this kernel\\n' $kernel > /tmp/kernel/DEBIAN/control &&
  dpkg-deb --build /tmp/kernel && dpkg --install /tmp/kernel.deb || exit
fi
cd /lab/share && apt-get --yes --no-install-recommends install ./usb4-roce_*.deb ./usb4-roce-modules-$(uname -r)_*.deb";

/// Waits until the only rail is up, the interface has its addresses, and they have become GIDs.
const AWAIT_RAIL: &str = "\
until grep -qx up /sys/kernel/config/usb4_roce/*/state; do sleep 1; done 2>/dev/null
until ip -4 -oneline address show dev usb4r0 | grep -q ' 169\\.254\\.'; do sleep 1; done
until grep -q '0000:0000:0000:0000:0000:ffff:a9fe' /sys/class/infiniband/usb4_roce0/ports/1/gids/*; do sleep 1; done";

/// Stops the rails, and looks whether they come back.
const HELPER_STOPS: &str = "\
/usr/libexec/usb4-roce-setup stop && sleep 10 || exit
! systemctl --quiet is-active 'usb4-roce@*.service' || { echo 'the unit is active'; exit 1; }
! ls -d /sys/kernel/config/usb4_roce/*/ /sys/kernel/config/thunderbolt/stream/*/ 2>/dev/null";

/// The host's IPv4 address on the cable.
const ADDRESS: &str = "ip -4 -oneline address show dev usb4r0 | sed 's|.*inet \\([^/]*\\)/.*|\\1|'";

/// What nobody may have changed after a reboot, or another: names and addresses.
const IDENTITY: &str = "\
cat /sys/class/net/usb4r0/address /sys/class/infiniband/usb4_roce0/node_guid /sys/class/infiniband/usb4_roce0/ports/1/gids/0
ip -oneline address show dev usb4r0 | awk '{ print $3, $4 }' | sort";

/// What of us is on a host that has purged the packages.
const REMAINS: &str = "\
dpkg --list 'usb4-roce*' 2>/dev/null | grep -E '^[a-z]' | grep -v ^un
find /etc /usr /var/lib /lib/modules -xdev \\( -iname '*usb4[-_]roce*' -o -iname '*usb4r0*' \\) -not -path '/var/lib/dpkg/info/*' 2>/dev/null
ls -d /sys/module/usb4_roce /sys/class/net/usb4r0 2>/dev/null
systemctl list-units --all --plain --no-legend 'usb4-roce*'
systemctl --failed --plain --no-legend
exit 0";

/// Hosts with nothing but Debian, and the packages.
const LAB: Lab = Lab {
    subject: Subject::DebianPackages,
    prepare,
    ..Lab::MODULE
};

/// What the kernel says with urgency when systemd reboots a host, which has the watchdog bite if that takes long.
const REBOOTING: [&str; 2] = ["watchdog did not stop!", "reboot: Restarting system"];

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run).needing(Need::Speed);
    Suite {
        name: "new-user",
        lab: LAB,
        tests: vec![
            test("install", install),
            test("plugged-anew", plugged_anew),
            test("stopped-by-hand", stopped_by_hand),
            test("nothing-else-is-there", nothing_else_is_there),
            test("rping", rping),
            test("all-reduce", all_reduce),
            test("upgrade", upgrade),
            test("purge", purge),
        ],
    }
}

/// What takes emulated hosts, which keep what they write, and time: they boot with the packages.
pub fn rebooting() -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run).needing(Need::StockKernel);
    Suite {
        name: "new-user-reboots",
        lab: LAB,
        tests: vec![
            test("install", install),
            test("reboot", reboot),
            test("nothing-else-is-there", nothing_else_is_there),
            test("all-reduce", all_reduce),
        ],
    }
}

/// One who gives interfaces their addresses on each host, and a user without rights.
fn prepare(stage: &Stage<'_>) -> Result<()> {
    for (host, goes, stays) in [
        ("a", "systemd-networkd", "NetworkManager"),
        ("b", "NetworkManager", "systemd-networkd"),
    ] {
        // There is no other network that a boot could wait for.
        let script = format!(
            "systemctl disable --now {goes} && systemctl enable --now {stays} &&
            systemctl disable systemd-networkd-wait-online.service NetworkManager-wait-online.service &&
            useradd --create-home {USER}"
        );
        stage.shell(host, &script, LIMIT)?;
    }
    Ok(())
}

/// On both hosts, at the same time.
fn on_both(stage: &Stage<'_>, script: &str) -> Result<[String; 2]> {
    let jobs = [
        stage.start("a", script, LIMIT)?,
        stage.start("b", script, LIMIT)?,
    ];
    let [a, b] = jobs.each_ref().map(|job| stage.finish(job, LIMIT));
    Ok([a?, b?])
}

/// The cable is in, and NetworkManager has made something of it: everything is there at once, and that is gone.
fn install(stage: &Stage<'_>) -> Result<Outcome> {
    on_both(
        stage,
        "until [ -d /sys/module/thunderbolt_net ]; do sleep 0.5; done",
    )?;
    on_both(stage, INSTALL)?;
    on_both(stage, AWAIT_RAIL)?;
    Ok(Outcome::Passed)
}

/// The only cable is pulled, and comes back.
fn plugged_anew(stage: &Stage<'_>) -> Result<Outcome> {
    let before = on_both(stage, IDENTITY)?;
    let cable = &stage.instance().topology().cables[0].name;
    let mut cables = stage.instance().cables()?;
    cables.unplug(cable)?;
    on_both(
        stage,
        "until ! ls /sys/bus/thunderbolt/devices/*/key 2>/dev/null; do sleep 0.5; done",
    )?;
    // Nobody wants it any more.
    let stopped = "until ! systemctl --quiet is-active 'usb4-roce@*.service'; do sleep 0.5; done";
    on_both(stage, stopped)?;
    cables.plug(cable)?;
    on_both(
        stage,
        "until systemctl --quiet is-active 'usb4-roce@*.service'; do sleep 0.5; done",
    )?;
    on_both(stage, AWAIT_RAIL)?;
    let after = on_both(stage, IDENTITY)?;
    ensure!(before == after, "it made of\n{before:#?}\n{after:#?}");
    Ok(Outcome::Passed)
}

/// Who takes the rails away by hand has them gone for good, with the driver of streams to be unloaded, until the unit is started again.
fn stopped_by_hand(stage: &Stage<'_>) -> Result<Outcome> {
    stage.shell("a", HELPER_STOPS, LIMIT)?;
    let start = "systemctl start usb4-roce@$(basename $(dirname $(grep -lsx stream /sys/bus/thunderbolt/devices/*/key)))";
    stage.shell("a", start, LIMIT)?;
    on_both(stage, AWAIT_RAIL)?;
    Ok(Outcome::Passed)
}

/// With the cable in, first both hosts, then one of them, for which the other one waits: all is as it was.
fn reboot(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        for line in REBOOTING {
            stage.allow_line(host, line);
        }
    }
    let before = on_both(stage, IDENTITY)?;
    for hosts in [&["a", "b"][..], &["b"]] {
        stage.instance().reboot(hosts)?;
        on_both(stage, AWAIT_RAIL)?;
        let after = on_both(stage, IDENTITY)?;
        ensure!(before == after, "a reboot made of\n{before:#?}\n{after:#?}");
    }
    Ok(Outcome::Passed)
}

/// No other driver for the cable, no address but those of the link, and one word of waiting at most.
fn nothing_else_is_there(stage: &Stage<'_>) -> Result<Outcome> {
    let modules = on_both(stage, "lsmod | cut -d ' ' -f 1")?;
    for loaded in &modules {
        let has = |name: &str| loaded.lines().any(|line| line == name);
        ensure!(!has("thunderbolt_net"), "thunderbolt_net is loaded");
        ensure!(
            has("rdma_ucm"),
            "nobody can connect by IP address: rdma_ucm is not loaded"
        );
    }
    let addresses = on_both(stage, "ip -oneline address show dev usb4r0")?;
    for address in addresses.iter().flat_map(|text| text.lines()) {
        ensure!(
            address.contains("inet 169.254.") || address.contains("inet6 fe80:"),
            "{INTERFACE} has {address}"
        );
    }
    let managers = [
        (
            "a",
            "nmcli --get-values GENERAL.CONNECTION device show usb4r0",
            "usb4-roce",
        ),
        ("b", "networkctl status usb4r0", "/99-usb4-roce.network"),
    ];
    for (host, question, answer) in managers {
        let said = stage.shell(host, question, LIMIT)?;
        ensure!(said.contains(answer), "{host}: {said}");
    }
    let units = on_both(
        stage,
        "systemctl list-units --plain --no-legend 'usb4-roce@*'; journalctl --boot --no-pager --output cat --unit 'usb4-roce@*'",
    )?;
    for said in &units {
        ensure!(said.contains("loaded active exited"), "{said}");
        ensure!(
            said.matches("waiting for the other host").count() <= said.matches("Started").count(),
            "{said}"
        );
        ensure!(said.contains(": up, streams: 1"), "{said}");
    }
    Ok(Outcome::Passed)
}

/// `script` as the user without rights would run it, after logging in.
fn as_user(script: &str) -> String {
    format!("exec su --login {USER} --command \"{script}\"")
}

fn rping(stage: &Stage<'_>) -> Result<Outcome> {
    let address = stage.shell("a", ADDRESS, LIMIT)?;
    let address = address.trim();
    let server = as_user(&format!("rping -s -a {address} -C 10 -S 8000 -V"));
    let client = as_user(&format!("rping -c -a {address} -C 10 -S 8000 -V"));
    let server = stage.start("a", &server, LIMIT)?;
    let listening = "until rdma resource show cm_id | grep -q LISTEN; do sleep 0.2; done";
    stage.shell("a", listening, LIMIT)?;
    stage.shell("b", &client, LIMIT)?;
    stage.finish(&server, LIMIT)?;
    Ok(Outcome::Passed)
}

fn all_reduce(stage: &Stage<'_>) -> Result<Outcome> {
    sum(stage)?;
    Ok(Outcome::Passed)
}

/// Sums numbers on both hosts, and has every sum checked.
fn sum(stage: &Stage<'_>) -> Result<()> {
    let addresses = on_both(stage, ADDRESS)?;
    let [a, b] = addresses.each_ref().map(|address| address.trim());
    let mut jobs = Vec::new();
    for (rank, host) in ["a", "b"].into_iter().enumerate() {
        let script = as_user(&format!(
            "/lab/share/allreduce --device {DEVICE} --json --rank {rank} --peers {a}:7000,{b}:7000 --bytes {BYTES}"
        ));
        jobs.push(stage.start(host, &script, LIMIT)?);
    }
    for job in &jobs {
        let text = stage.finish(job, LIMIT)?;
        ensure!(text.contains("\"ok\":true"), "{text}");
    }
    Ok(())
}

/// Packages of a higher version with the same content: rails stay as they are meanwhile.
fn upgrade(stage: &Stage<'_>) -> Result<Outcome> {
    let script = "\
        mkdir /tmp/newer && cd /tmp/newer || exit
        for package in usb4-roce $(cd /var/lib/dpkg/info && ls usb4-roce-modules-*.list | sed 's/.list$//'); do
          dpkg-deb --raw-extract /lab/share/${package}_*.deb $package &&
          sed -i 's/^Version: .*/&+next/' $package/DEBIAN/control && dpkg-deb --build --root-owner-group -Znone $package || exit
        done
        apt-get --yes --no-install-recommends install ./*.deb &&
        dpkg-query --show --showformat '${Version} ${Status}\\n' 'usb4-roce*'";
    for said in on_both(stage, script)? {
        let installed = said
            .lines()
            .filter(|line| line.ends_with("+next install ok installed"));
        ensure!(installed.count() == 2, "{said}");
    }
    on_both(stage, AWAIT_RAIL)?;
    sum(stage)?;
    Ok(Outcome::Passed)
}

/// Removed with a rail up, then purged: nothing is left, and the network managers have nothing to complain of.
fn purge(stage: &Stage<'_>) -> Result<Outcome> {
    let packages =
        "$(dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\\n' 'usb4-roce*' | sed -n 's/^[ir][ic] *//p')";
    on_both(stage, &format!("apt-get --yes remove {packages}"))?;
    on_both(stage, &format!("dpkg --purge {packages}"))?;
    for (host, remains) in ["a", "b"].into_iter().zip(on_both(stage, REMAINS)?) {
        ensure!(remains.trim().is_empty(), "{host} still has\n{remains}");
    }
    let modules = on_both(stage, "modprobe --dry-run usb4_roce 2>&1; exit 0")?;
    for said in &modules {
        ensure!(said.contains("not found"), "modprobe says {said}");
    }
    Ok(Outcome::PassedAndSpent)
}
