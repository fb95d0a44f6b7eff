// SPDX-License-Identifier: GPL-2.0

//! A host at the other end of a cable that keeps no rule: `hostile-peer` on host b, in place of the module. Host a has to
//! bear it, and go on with host c meanwhile.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::debug;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::extent::Extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::hosts::streams;
use crate::roce;
use crate::roce::state::await_port;
use crate::roce::state::PortState;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;
use crate::roce::STREAM;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(240);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(900);

/// How long a false name is shown, or a host is flooded.
const BRIEF_SPAN: Duration = Duration::from_secs(3);

/// What a flooded host may say, beside as many bytes as it was told: at once, and each second.
const BYTES_AT_ONCE: u64 = 64 << 10;
const BYTES_PER_SECOND: u64 = 16 << 10;

/// More than a handshake takes.
const LITTLE: u64 = 1 << 10;

/// Lines that a hostile peer may cause in the kernel's log at once, and each second.
const LINES_AT_ONCE: f64 = 25.0;
const LINES_PER_SECOND: f64 = 0.2;

/// Hosts with the module.
const HONEST: [&str; 2] = ["a", "c"];

/// The device of the stream to host `$1`.
const FIND_STREAM: &str = "\
for index in /sys/kernel/config/thunderbolt/stream/*/u4roce/index; do
  service=${index%/u4roce/index}
  service=${service##*/}
  if [ \"$(cat /sys/bus/thunderbolt/devices/${service%.*}/device_name)\" = $1 ]; then
    echo /dev/tbstream$(cat $index)
  fi
done";

/// The suite.
pub fn suite(extent: Extent) -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run);
    let mut tests = vec![
        // First, while the rail still has something to say: its lines in the log are limited.
        test("shows-false-names", false_names).needing(Need::Speed),
        test("keeps-no-rule", bear),
        test("comes-to-its-senses", senses),
    ];
    if extent == Extent::Long {
        tests.insert(2, test("floods", floods));
    }
    Suite {
        name: "peer",
        lab: Lab {
            fabric: Fabric {
                hosts: 3,
                ..Fabric::PAIR
            },
            prepare,
            ..Lab::MODULE
        },
        tests,
    }
}

/// The same with the checkers watching.
pub fn on_debug(extent: Extent) -> Suite {
    debug::watched("peer-debug", suite(extent))
}

/// How long the peer keeps no rule.
fn span(extent: Extent) -> Duration {
    Duration::from_secs(match extent {
        Extent::Short => 40,
        Extent::Long => 400,
    })
}

/// Hosts a and c get to work; host b has streams, and no module.
fn prepare(stage: &Stage<'_>) -> Result<()> {
    let instance = stage.instance();
    for host in HONEST {
        roce::load(instance, host)?;
    }
    streams::make(instance, STREAM)?;
    for host in HONEST {
        roce::offer(instance, host)?;
    }
    for host in HONEST {
        // One of the two rails is up.
        await_port(stage, host, PortState::Active, LIMIT)?;
    }
    Ok(())
}

/// Who a host says it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Names {
    guid: String,
    mac: String,
}

/// Who a host says it is with the module, by the UUID of its router.
fn expected_names(stage: &Stage<'_>, host: &str) -> Result<Names> {
    let script =
        "/lab/share/hostile-peer identity --uuid $(cat /sys/bus/thunderbolt/devices/0-0/unique_id)";
    let line = stage.shell(host, script, LIMIT)?;
    serde_json::from_str(&line).with_context(|| format!("the names of host {host}"))
}

/// Who host b would say it is.
fn true_names(stage: &Stage<'_>) -> Result<Names> {
    expected_names(stage, "b")
}

/// Who a host with the module says it is.
fn names_of(stage: &Stage<'_>, host: &str) -> Result<Names> {
    let read = |path: &str| -> Result<String> {
        let text = stage.shell(host, &format!("cat {path}"), LIMIT)?;
        Ok(text.trim().to_owned())
    };
    Ok(Names {
        guid: read(&format!("/sys/class/infiniband/{DEVICE}/node_guid"))?.replace(':', ""),
        mac: read(&format!("/sys/class/net/{INTERFACE}/address"))?,
    })
}

/// What the hostile peer has done.
#[derive(Debug, Deserialize)]
struct Report {
    ups: u64,
    requests_done: u64,
    lies: u64,
    bytes_written: u64,
    bytes_read: u64,
}

/// Lets host b be hostile to host a for `span`. Fails if the log of host a is flooded.
fn play(stage: &Stage<'_>, names: &Names, span: Duration, options: &str) -> Result<Report> {
    let Names { guid, mac } = names;
    let device = stage.shell("b", &format!("set -- a\n{FIND_STREAM}"), LIMIT)?;
    let device = device.trim();
    let seconds = span.as_secs();
    stage.shell("a", "dmesg -C", LIMIT)?;
    let script = format!(
        "/lab/share/hostile-peer play --stream {device} --guid {guid} --mac {mac} --seconds {seconds} {options}"
    );
    let output = stage.shell("b", &script, span + LIMIT)?;
    let report: Report = output
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .with_context(|| format!("the report in {output}"))?;
    stage.note(&format!("{report:?}"));
    let lines = stage.shell("a", "dmesg | grep -c usb4_roce || :", LIMIT)?;
    let lines: f64 = lines.trim().parse().context("a number of lines")?;
    stage.note(&format!(
        "{lines} lines in the log of host a in {seconds} s"
    ));
    stage.shell("a", "dmesg | grep usb4_roce | tail -n 60", LIMIT)?;
    ensure!(
        lines <= LINES_AT_ONCE + LINES_PER_SECOND * span.as_secs_f64(),
        "the peer has caused {lines} lines in the log in {seconds} s"
    );
    Ok(report)
}

/// Everything at once: queue pairs that are lied to, rails that come and go, and traffic with another host.
fn bear(stage: &Stage<'_>) -> Result<Outcome> {
    const OFFER: &str = "/tmp/offer";
    const STOP: &str = "/tmp/stop-victim";
    let span = span(stage.extent());
    let names = true_names(stage)?;
    stage.shell("a", &format!("rm -f {OFFER} {STOP}"), LIMIT)?;
    // Nobody on host b answers when host a looks for it; its address follows from the Ethernet address (RFC 4291).
    let resolve = format!(
        "set -- $(echo {mac} | tr : ' ')\n\
         ip -6 neigh replace fe80::$(printf %x $((0x$1 ^ 2)))$2:$3ff:fe$4:$5$6 lladdr {mac} dev {INTERFACE} nud permanent",
        mac = names.mac
    );
    stage.shell("a", &resolve, LIMIT)?;
    let victim = format!(
        "exec /lab/share/verbs-victim --device {DEVICE} --json --peer {} --offer {OFFER} --until {STOP}",
        names.mac
    );
    let victim = stage.serve("a", &victim, Ready::File(OFFER), span + LIMIT)?;
    let offer = stage.shell("a", &format!("cat {OFFER}"), LIMIT)?;
    stage.shell("b", &format!("cat > {OFFER} <<'END'\n{offer}\nEND"), LIMIT)?;
    let traffic = Traffic::start(stage, "a", "c", "--variant event-rq")?;
    let report = play(stage, &names, span, &format!("--victim {OFFER}"))?;
    traffic.stop(stage)?;
    stage.shell("a", &format!("touch {STOP}"), LIMIT)?;
    let victim = stage.finish(&victim, LIMIT)?;
    let victim: Value = serde_json::from_str(&victim).context("the victim's report")?;
    for what in ["good", "bad", "restarts", "withdrawals", "checks"] {
        ensure!(victim[what].as_u64() > Some(0), "{what}: none: {victim}");
    }
    ensure!(
        report.ups > 0 && report.requests_done > 0 && report.lies > 0,
        "the peer has not been hostile: {report:?}"
    );
    // Host b answers for itself later on.
    let forget = format!("ip -6 neigh flush dev {INTERFACE} nud permanent");
    stage.shell("a", &forget, LIMIT)?;
    Ok(Outcome::Passed)
}

/// Without a queue pair of its own: the answers are not more than what they answer, and Ethernet frames that are none are
/// counted and dropped.
fn floods(stage: &Stage<'_>) -> Result<Outcome> {
    let names = true_names(stage)?;
    for (kind, least) in [
        ("hellos", LITTLE),
        ("reports", LITTLE),
        ("noise", LITTLE),
        ("wild", LITTLE),
        // It closes before it can say much.
        ("restless", 0),
    ] {
        let report = play(stage, &names, BRIEF_SPAN, &format!("--only {kind}"))?;
        let most = report.bytes_written + BYTES_AT_ONCE + BYTES_PER_SECOND * BRIEF_SPAN.as_secs();
        ensure!(
            report.bytes_written > least,
            "{kind}: the peer has said next to nothing: {report:?}"
        );
        ensure!(
            report.bytes_read <= most,
            "{kind}: the module answers {} bytes by {}",
            report.bytes_written,
            report.bytes_read
        );
    }
    for kind in ["runts", "unfinished"] {
        ensure!(
            ethernet(stage, &names, &format!("--only {kind}"))? > 0,
            "{kind}: frames that are not what they should be were not dropped"
        );
    }
    Ok(Outcome::Passed)
}

/// Has host b send Ethernet frames as `options` say. Gives how many of them the interface of host a has dropped.
fn ethernet(stage: &Stage<'_>, names: &Names, options: &str) -> Result<u64> {
    let before = dropped(stage)?;
    let report = play(stage, names, BRIEF_SPAN, options)?;
    ensure!(
        report.ups > 0 && report.lies > 0,
        "{names:?}: the peer has said nothing: {report:?}"
    );
    Ok(dropped(stage)? - before)
}

/// Ethernet frames that the interface of host a has dropped.
fn dropped(stage: &Stage<'_>) -> Result<u64> {
    let read = format!("cat /sys/class/net/{INTERFACE}/statistics/rx_dropped");
    let text = stage.shell("a", &read, LIMIT)?;
    text.trim().parse().context("a number of frames")
}

/// Host b says it is somebody else. Names that cannot be are refused: nothing that comes over such a rail reaches the
/// interface, nor does a frame with the address of host a or c over one that is used; and traffic with host c does not
/// suffer. The name of host c can be, as host c might have another controller; once that is over, traffic flows as
/// before.
fn false_names(stage: &Stage<'_>) -> Result<Outcome> {
    stage.expect_line("a", "which it cannot have; the rail stays unused");
    let own = true_names(stage)?;
    let [victim, other] = ["a", "c"].map(|host| names_of(stage, host));
    let (victim, other) = (victim?, other?);
    for (host, names) in [("a", &victim), ("c", &other)] {
        let expected = expected_names(stage, host)?;
        ensure!(
            *names == expected,
            "{host} has the names {names:?}, its router makes it {expected:?}"
        );
    }
    let with_mac = |mac: &str| Names {
        mac: mac.to_owned(),
        ..own.clone()
    };
    let impossible = [
        victim.clone(),
        with_mac(&other.mac),
        with_mac("03:00:00:00:00:01"),
        with_mac("ff:ff:ff:ff:ff:ff"),
    ];
    let traffic = Traffic::start(stage, "a", "c", "--variant poll-rq")?;
    for names in impossible {
        let reached = ethernet(stage, &names, "--only runts")?;
        ensure!(
            reached == 0,
            "{names:?}: {reached} frames over the unused rail have reached the interface"
        );
    }
    for source in [&victim.mac, &other.mac] {
        let forged = format!("--only ethernet --source {source}");
        ensure!(
            ethernet(stage, &own, &forged)? > 0,
            "frames with the address {source} were not dropped"
        );
    }
    let honest = ethernet(stage, &own, "--only ethernet")?;
    ensure!(honest == 0, "{honest} frames of host b were dropped");
    traffic.stop(stage)?;
    stage.allow_line("a", "says other limits than over another cable");
    let report = play(stage, &other, BRIEF_SPAN, "--only honest")?;
    ensure!(report.ups > 0, "the peer was not heard: {report:?}");
    Traffic::start(stage, "a", "c", "--variant poll-rq")?.stop(stage)?;
    Ok(Outcome::Passed)
}

/// Host b gets the module, and all is well.
fn senses(stage: &Stage<'_>) -> Result<Outcome> {
    let instance = stage.instance();
    roce::load(instance, "b")?;
    roce::connect(instance, "b", instance.topology().cables.len())?;
    roce::await_up(instance)?;
    for host in HONEST {
        let traffic = Traffic::start(stage, "b", host, "--variant poll-rq")?;
        traffic.stop(stage)?;
    }
    Ok(Outcome::Passed)
}
