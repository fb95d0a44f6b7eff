// SPDX-License-Identifier: GPL-2.0

//! `usb4-roce`, the program for users: what it shows of hosts that work, what it finds wrong with others.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::Lab;
use super::Need;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;
use crate::roce::HELPER;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(240);

/// The program on the hosts.
const TOOL: &str = "/lab/share/usb4-roce";

/// Runs a command as a user without rights.
const AS_NOBODY: &str = "setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all";

/// The stream service of the second cable.
const SECOND: &str = "0-3.0";

/// The exit status of a check that finds a fault.
const FAULT: i32 = 1;

/// The suite, with two cables.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 3, run);
    let long = |name, run| test(name, run).needing(Need::Speed);
    Suite {
        name: "user-tool",
        lab: Lab {
            fabric: Fabric {
                rails: 2,
                ..Fabric::PAIR
            },
            subject: Subject::UserTool,
            prepare,
            ..Lab::MODULE
        },
        tests: vec![
            test("status", status),
            test("check", check),
            long("planted-faults", planted_faults),
            long("report", report),
            long("nonsense", nonsense),
            Test::new("bench", LIMIT * 5, bench).needing(Need::Speed),
            long("other-host-without-streams", other_host_without_streams),
        ],
    }
}

fn prepare(stage: &Stage<'_>) -> Result<()> {
    roce::prepare(stage)?;
    stage.instance().on_each(|host| {
        stage.shell(host, "modprobe rdma_ucm", LIMIT)?;
        Ok(())
    })
}

/// What the program writes on `host`, as a document.
fn document(stage: &Stage<'_>, host: &str, arguments: &str) -> Result<Value> {
    let text = stage.shell(host, &format!("{TOOL} {arguments} --json"), LIMIT)?;
    serde_json::from_str(&text).with_context(|| format!("{arguments} --json writes {text}"))
}

/// Sees that `text`, which `host` has written, is for any screen and has all of `parts`.
fn expect(host: &str, text: &str, parts: &[&str]) -> Result<()> {
    const WIDTH: usize = 100;
    for part in parts {
        ensure!(
            text.contains(part),
            "{host}: nothing of {part:?} in\n{text}"
        );
    }
    ensure!(!text.contains('\x1b'), "{host}: colours are in\n{text}");
    let is_command = |line: &&str| line.trim_start().starts_with("$ ");
    let mut lines = text.lines().filter(|line| !is_command(line));
    let wide = lines.find(|line| line.chars().count() > WIDTH);
    ensure!(wide.is_none(), "{host}: {wide:?} is too wide");
    Ok(())
}

fn status(stage: &Stage<'_>) -> Result<Outcome> {
    for (host, other) in [("a", "b"), ("b", "a")] {
        let text = stage.shell(host, &format!("{TOOL} status"), LIMIT)?;
        let address = format!("RoCE v2, {}", roce::address(host));
        let parts = [
            "port ACTIVE",
            DEVICE,
            INTERFACE,
            &address,
            SECOND,
            "tbstream0",
            "PEER",
            "OUT NOW",
        ];
        expect(host, &text, &parts)?;

        let document = document(stage, host, "status")?;
        let rails = document["rails"].as_array().context("rails")?;
        ensure!(rails.len() == 2, "{host}: {rails:?}");
        for rail in rails {
            ensure!(
                rail["state"] == "up" && rail["peer"] == other,
                "{host}: {rail}"
            );
            ensure!(rail["tx"]["lanes"] == 2, "{host}: {rail}");
        }
        let guid = stage.shell(
            other,
            &format!("cat /sys/class/infiniband/{DEVICE}/node_guid"),
            LIMIT,
        )?;
        let known = document["peers"][0]["guid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        stage.note(&format!(
            "{host} knows {other} as {known}, which calls itself {guid}"
        ));

        let text = stage.shell(host, &format!("{AS_NOBODY} {TOOL} status"), LIMIT)?;
        expect(host, &text, &["port ACTIVE", SECOND, "tbstream0"])?;
    }
    // Traffic shows while it goes on.
    let ping = format!("exec ping -q -i 0.01 -s 8000 {}", roce::address("b"));
    let job = stage.start("a", &ping, LIMIT)?;
    let document = document(stage, "a", "status")?;
    stage.kill(&job)?;
    stage.wait(&job, LIMIT)?;
    let out = document["throughput"]["out_bps"].as_f64();
    ensure!(
        out.is_some_and(|out| out > 0.0),
        "nothing moves: {document}"
    );
    Ok(Outcome::Passed)
}

/// What a check has found, by verdict: names of checks.
struct Found {
    document: Value,
    status: Option<i32>,
}

impl Found {
    fn on(stage: &Stage<'_>, host: &str, rights: &str) -> Result<Self> {
        let output = stage.attempt(
            host,
            &format!("{rights} {TOOL} check --json; echo \" $?\""),
            LIMIT,
        )?;
        let text = output.text();
        let (document, status) = text.trim_end().rsplit_once(' ').context("no status")?;
        Ok(Self {
            document: serde_json::from_str(document)
                .with_context(|| format!("the check writes {text}"))?,
            status: status.parse().ok(),
        })
    }

    fn with(&self, verdict: &str) -> BTreeSet<&str> {
        let findings = self.document["findings"].as_array().into_iter().flatten();
        let matching = findings.filter(|finding| finding["verdict"] == verdict);
        matching
            .filter_map(|finding| finding["check"].as_str())
            .collect()
    }

    fn ensure(&self, verdict: &str, names: &[&str]) -> Result<()> {
        let found = self.with(verdict);
        let expected: BTreeSet<&str> = names.iter().copied().collect();
        ensure!(
            found == expected,
            "{verdict}: {found:?}, expected {expected:?}: {:#}",
            self.document
        );
        Ok(())
    }
}

fn check(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        let found = Found::on(stage, host, "")?;
        found.ensure("fault", &[])?;
        // The emulated controllers have no IOMMU in front of them.
        found.ensure("warning", &["iommu"])?;
        found.ensure("unknown", &[])?;
        found.ensure("needs-root", &[])?;
        ensure!(found.status == Some(0), "{host}: status {:?}", found.status);

        let found = Found::on(stage, host, AS_NOBODY)?;
        found.ensure("fault", &[])?;
        // As the lab's hosts are booted, with the kernel's own limit.
        found.ensure("warning", &["iommu", "memlock"])?;
        found.ensure("needs-root", &[])?;
        ensure!(found.status == Some(0), "{host}: status {:?}", found.status);

        let text = stage.shell(host, &format!("{TOOL} check"), LIMIT)?;
        expect(host, &text, &["0 faults, 1 warning", "kernel", "rail"])?;
    }
    Ok(Outcome::Passed)
}

fn planted_faults(stage: &Stage<'_>) -> Result<Outcome> {
    let address = roce::address("a");
    let plants = [
        (
            "modprobe thunderbolt_net".to_owned(),
            "warning",
            "thunderbolt-net",
            "rmmod thunderbolt_net".to_owned(),
        ),
        (
            format!("{HELPER} stop {SECOND}"),
            "fault",
            "rail",
            format!("{HELPER} start {SECOND} && {HELPER} announce {SECOND}"),
        ),
        (
            format!("ip address del {address}/24 dev {INTERFACE}"),
            "fault",
            "address",
            format!("ip address replace {address}/24 dev {INTERFACE}"),
        ),
        (
            format!("ip link set {INTERFACE} down"),
            "fault",
            "interface",
            format!(
                "ip link set {INTERFACE} up && ip address replace {address}/24 dev {INTERFACE}"
            ),
        ),
        (
            // modprobe would take ib_uverbs with it.
            "rmmod rdma_ucm".to_owned(),
            "warning",
            "rdma-cm",
            "modprobe rdma_ucm".to_owned(),
        ),
    ];
    for (plant, verdict, name, _) in &plants {
        stage.shell("a", plant, LIMIT)?;
        let found = Found::on(stage, "a", "")?;
        let names = found.with(verdict);
        ensure!(names.contains(name), "after `{plant}`: {names:?}");
        let text = stage.attempt("a", &format!("{TOOL} check"), LIMIT)?;
        expect("a", &text.text(), &[name])?;
    }
    let found = Found::on(stage, "a", "")?;
    ensure!(found.status == Some(FAULT), "status {:?}", found.status);
    found.ensure("warning", &["iommu", "thunderbolt-net", "rdma-cm"])?;
    for (_, _, _, remedy) in plants.iter().rev() {
        stage.shell("a", remedy, LIMIT)?;
    }
    roce::await_up(stage.instance())?;
    let found = Found::on(stage, "a", "")?;
    found.ensure("fault", &[])?;
    found.ensure("warning", &["iommu"])?;
    Ok(Outcome::Passed)
}

/// Nothing is in a report by which one could tell whose hosts these are.
fn report(stage: &Stage<'_>) -> Result<Outcome> {
    const FILE: &str = "/tmp/report";
    let secrets = "cat /sys/bus/thunderbolt/devices/*/unique_id
        cut -d ' ' -f 2,3 /sys/kernel/config/usb4_roce/*/peer | tr ' ' '\\n'
        cat /sys/class/net/*/address /sys/class/infiniband/*/node_guid
        ip -o address | grep -v ' lo ' | sed 's,.* inet6* \\([^/]*\\)/.*,\\1,'";
    for host in ["a", "b"] {
        let said = stage.shell(host, &format!("{TOOL} report --output {FILE}"), LIMIT)?;
        ensure!(said.contains("read it before"), "{said}");
        let text = stage.shell(host, &format!("cat {FILE}"), LIMIT)?;
        for part in [
            "== kernel log ==",
            "\"check\": \"rail\"",
            "host-1",
            "state: up",
            "usb4_roce: rail",
            "uuid-1",
        ] {
            ensure!(
                text.contains(part),
                "{host}: nothing of {part:?} in the report:\n{text}"
            );
        }
        let secrets = stage.shell(host, secrets, LIMIT)?;
        let secrets: BTreeSet<&str> = secrets
            .lines()
            .filter(|line| *line != "00:00:00:00:00:00")
            .collect();
        ensure!(secrets.len() >= 6, "{host}: few secrets: {secrets:?}");
        for secret in secrets {
            ensure!(
                !text.contains(secret),
                "{host}: {secret} is in the report:\n{text}"
            );
        }
        ensure!(
            !text.contains("\"name\": \"b\""),
            "{host}: a name is in the report:\n{text}"
        );
        ensure!(
            !text.contains("Linux b\n"),
            "{host}: a name is in the report:\n{text}"
        );
    }
    Ok(Outcome::Passed)
}

fn nonsense(stage: &Stage<'_>) -> Result<Outcome> {
    const NONSENSE: i32 = 2;
    for arguments in [
        "",
        "chek",
        "status --watch=x",
        "bench --serve b",
        "bench 127.0.0.1",
        "report --output /no/where",
    ] {
        let script = format!("{TOOL} {arguments}; echo \" $?\"");
        let output = stage.attempt("a", &script, LIMIT)?;
        let status = output.text();
        let status = status.trim_end().rsplit(' ').next().unwrap_or_default();
        ensure!(
            status == NONSENSE.to_string(),
            "`{arguments}` has status {status}"
        );
    }
    Ok(Outcome::Passed)
}

fn bench(stage: &Stage<'_>) -> Result<Outcome> {
    /// The program's own.
    const PORT: u16 = 18514;
    const FIGURES: usize = 7;
    let serve = format!("exec {TOOL} bench --serve");
    let server = stage.serve("a", &serve, Ready::Port(PORT), LIMIT * 4)?;
    let refused = stage.attempt("a", &format!("{TOOL} bench 127.0.0.1"), LIMIT)?;
    let text = refused.everything();
    ensure!(
        text.contains("no address of the cable"),
        "over another network: {text}"
    );
    let bench = format!(
        "{TOOL} bench {} --json; [ $? -le {FAULT} ]",
        roce::address("a")
    );
    let text = stage.shell("b", &bench, LIMIT * 2)?;
    let document: Value =
        serde_json::from_str(&text).with_context(|| format!("bench --json writes {text}"))?;
    stage.kill(&server)?;
    stage.wait(&server, LIMIT)?;
    let results = document["results"].as_array().context("results")?;
    ensure!(results.len() == FIGURES, "{results:?}");
    let mut measured = 0;
    for result in results {
        let figure = result["gbps"].as_f64().or(result["typical_us"].as_f64());
        let error = result["error"].as_str().unwrap_or_default();
        // On hosts that share the machine's processors, perftest's clock is bad at times.
        let is_clock = error.contains("clock to be bad");
        ensure!(
            is_clock || figure.is_some_and(|figure| figure > 0.0),
            "{result}"
        );
        measured += usize::from(figure.is_some());
    }
    ensure!(
        measured > FIGURES / 2,
        "{measured} of {FIGURES} figures: {document}"
    );
    ensure!(
        document["link"]["cables"]
            .as_array()
            .is_some_and(|cables| cables.len() == 2),
        "{document}"
    );

    let nobody = stage.attempt("b", &format!("{TOOL} bench {}", roce::address("a")), LIMIT)?;
    let text = nobody.everything();
    ensure!(text.contains("bench --serve"), "without a server: {text}");
    Ok(Outcome::Passed)
}

/// The other host's driver of streams is unloaded: this host sees a cable, and no service.
fn other_host_without_streams(stage: &Stage<'_>) -> Result<Outcome> {
    stage.shell(
        "b",
        &format!("{HELPER} stop && modprobe -r thunderbolt_stream"),
        LIMIT,
    )?;
    let gone = "while grep -qsx stream /sys/bus/thunderbolt/devices/*/key; do sleep 0.1; done";
    stage.shell("a", gone, LIMIT)?;
    let found = Found::on(stage, "a", "")?;
    let faults = found.with("fault");
    ensure!(
        faults.contains("stream-service") && faults.contains("port"),
        "{faults:?}"
    );
    let text = stage.attempt("a", &format!("{TOOL} check"), LIMIT)?.text();
    expect(
        "a",
        &text,
        &[
            "FAULT",
            "offers no streams",
            "On the other host, load the stream driver",
        ],
    )?;
    // Services that went do not all come again without a replug.
    Ok(Outcome::PassedAndSpent)
}
